"""`python -m syntrial_generation serve|job`."""

from syntrial.rpc.main import main

main("generation", "syntrial_generation.service:METHODS")
