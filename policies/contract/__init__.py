"""What every policy promises, as checks: a small run, what a policy is asked in it, and the rules."""
