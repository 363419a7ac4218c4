"""Near duplicates: what images are compared by, how near is near, and the exact search in all eight positions.

Data preparation looks for leaks by it, and filtering for mirrored, turned and inverted copies of training images.
"""
