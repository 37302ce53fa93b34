"""What is kept: metrics, the files of a run folder, and the finished runs of a sweep that is not."""
