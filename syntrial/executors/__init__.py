"""Executors: they start steps and say what became of them; they know nothing of experiments."""
