"""Presets: names that the planner expands to the full configurations of generators and classifiers."""
