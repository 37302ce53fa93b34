"""Whether a step's demand is rewritten after its lookups."""
