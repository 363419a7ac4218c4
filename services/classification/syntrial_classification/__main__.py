"""`python -m syntrial_classification serve|job`."""

from syntrial.rpc.main import main

main("classification", "syntrial_classification.service:METHODS")
