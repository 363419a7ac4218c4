"""Filtering: synthetic images to the accepted subset, with reasons and quality figures."""
