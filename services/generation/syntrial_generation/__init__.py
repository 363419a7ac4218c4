"""Generation: a training split to a generator, and to synthetic images."""
