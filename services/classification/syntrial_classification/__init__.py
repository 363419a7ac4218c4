"""Classification: training sets to a classifier, and a classifier to predictions."""
