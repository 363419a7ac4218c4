"""What data an experiment names, and the digest of each one's content, wherever it lies."""
