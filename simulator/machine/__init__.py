"""What it runs on: hardware profiles."""
