"""What is asked: the experiment file, systems that it names, and the runs of its sweep."""
