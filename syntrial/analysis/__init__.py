"""Analysis: predictions to a verdict and a report. The fifth stage; torch-free, in the platform's own image."""
