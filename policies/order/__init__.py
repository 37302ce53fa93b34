"""In which order a step's missed experts are asked for."""
