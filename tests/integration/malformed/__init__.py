"""Malformed inputs: each is told with its field, rule and remedy, and nothing is half-written."""
