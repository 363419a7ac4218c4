"""What data an experiment names, what is seen of it at once, and the digest of each one's content, wherever it lies."""
