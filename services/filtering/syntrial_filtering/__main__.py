"""`python -m syntrial_filtering serve|job`: the stage as a server, or as a job that ends."""

from syntrial.rpc.main import main

main("filtering", "syntrial_filtering.service:METHODS")
