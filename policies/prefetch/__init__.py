"""What to load before it is demanded."""
