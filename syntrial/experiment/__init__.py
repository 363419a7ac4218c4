"""What a user may write: the Experiment and its file, and how mistakes are worded."""
