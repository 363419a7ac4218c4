"""Data sets as people have them, drawn small: one module for each kind of fault."""
