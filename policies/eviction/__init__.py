"""Who leaves a full pool."""
