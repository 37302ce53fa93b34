"""How YAML files and quantities with units are read."""
