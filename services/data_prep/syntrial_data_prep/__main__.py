"""`python -m syntrial_data_prep serve|job`."""

from syntrial.rpc.main import main

if __name__ == "__main__":
    main("data_prep", "syntrial_data_prep.service:METHODS")
