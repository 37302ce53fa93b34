"""The Python interface, for notebooks and scripts: what ``import simulator as moesim`` offers."""
