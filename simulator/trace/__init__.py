"""What is replayed: recorded routing, where it comes from and how it is stored."""
