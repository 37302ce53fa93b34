"""Why a run is as fast as it is: its misses, its time, its prefetching, its layers, and what would help."""
