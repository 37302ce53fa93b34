"""What the tables of a run folder say: read back, paired and summed up; nothing is simulated here."""
