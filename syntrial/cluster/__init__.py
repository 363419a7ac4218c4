"""The one door to Kubernetes, what is asked of it, and the definition of Experiment there."""
