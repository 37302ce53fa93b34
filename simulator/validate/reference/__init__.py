"""An engine that is run here: experts read from a drive, or copied to a GPU, and the same simulated."""
