"""Syntrial runs honest trials of synthetic medical images."""

__version__ = "0.1.0"
