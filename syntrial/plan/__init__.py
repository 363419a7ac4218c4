"""An experiment and the digests of its sources expanded into a graph of steps with their keys; pure."""
