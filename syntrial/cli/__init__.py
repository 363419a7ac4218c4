"""The command line: `syntrial run experiment.yaml`, `syntrial submit experiment.yaml`, and what surrounds them.

    options.py     the application and the options that commands share
    places.py      where a trial is: an experiment's file here, or an Experiment on the cluster
    laptop.py      trials on this machine: run, plan, judge, demo, gc
    classifiers.py one classifier, on this machine: evaluate, predict, convert
    generators.py  one generator, on this machine: conformance, generate
    explaining.py  explain: a network, a classifier's training, a generator
    cluster.py     trials on a cluster: submit, upload, cancel, backup
    anywhere.py    report, logs, retry, export and track, of a trial here or there; tracked.py what is said of MLflow
    status.py      status, of a trial here or there; status_view.py draws it, terminal.py a plan and a run

Exit codes: 0 done; 2 something of the user's is wrong; 1 a step failed, or the store or the cluster did not answer; 130
interrupted, and the same command goes on where it was. Commands import what they need when they run, so that `--help`
is quick.
"""

import gc
import sys

from rich.text import Text

from syntrial.cli import anywhere, classifiers, cluster, explaining, generators, laptop, status  # noqa: F401 - importing them registers their commands
from syntrial.cli.options import app, errors
from syntrial.errors import SyntrialError, UserError

__all__ = ["COLLECTION", "app", "main"]

COLLECTION = (200_000, 20, 100)
"""After how many new objects cycles are looked for. A plan of 100,000 files makes a million that stay: with the usual
number a quarter of its time went to it."""


def main() -> None:
    """Runs the command line; the process's exit code says how it ended."""
    gc.set_threshold(*COLLECTION)
    try:
        app(standalone_mode=True)
    except UserError as error:
        from syntrial.cli.terminal import print_error

        print_error(errors, error)
        sys.exit(2)
    except SyntrialError as error:
        errors.print(Text(f"error: {error}"), soft_wrap=True)
        sys.exit(1)
