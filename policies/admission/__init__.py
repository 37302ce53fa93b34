"""Whether a demanded expert may displace the victim that eviction names."""
