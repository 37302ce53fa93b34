"""How a tier's capacity is divided into pools."""
