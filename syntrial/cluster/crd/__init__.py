"""The CustomResourceDefinition of Experiment, generated from the model."""
