"""The phone of BigMoeOnEdge: its recorded runs, replayed and compared."""
