"""The law of time as a SimPy model: the engine to read, to check the law against, and to extend."""
