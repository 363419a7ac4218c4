"""The controller: from Experiment objects to Jobs, a verdict and a status; `python -m syntrial.controller`."""
