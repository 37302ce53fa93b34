"""Numbers that others measured or published, each beside its simulation."""
