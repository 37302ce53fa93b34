"""What happens: a pass is played through tiers, links and compute units (docs/timing.md)."""
