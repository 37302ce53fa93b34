"""From a described experiment to a run that can be played: costs, machine, tiers and policies joined."""
