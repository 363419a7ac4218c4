"""Code generated from protos/syntrial/v1 (`make protos`); never edited."""
