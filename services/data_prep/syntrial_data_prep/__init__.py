"""Data preparation: raw data to a data set artifact with splits, and its audit."""
