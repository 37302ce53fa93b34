"""Playing: one run, the processes or machines that play many, and a whole experiment."""
