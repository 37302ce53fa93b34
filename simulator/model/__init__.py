"""Model specs: sizes of experts, dense blocks and caches."""
