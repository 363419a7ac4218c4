"""Serves the analysis stage: `python -m syntrial.analysis serve --store URL --address unix:…`."""

from syntrial.rpc.main import main

if __name__ == "__main__":
    main("analysis", "syntrial.analysis.service:METHODS")
