"""Where a trial is: an experiment's file means this machine, any other word an Experiment on the cluster."""

from pathlib import Path
from typing import TYPE_CHECKING

from syntrial.cli.laptop import draft_of, run_draft
from syntrial.cli.options import DEFAULT_STORE

if TYPE_CHECKING:
    from syntrial.cluster.door import Door
    from syntrial.remote.experiments import Remote
    from syntrial.trial.handle import TrialHandle


def trial_at(
    trial: str,
    *,
    store: str,
    context: str | None,
    namespace: str | None,
    secret: str,
    endpoint: str | None,
    data_root: Path | None = None,
    out: Path | None = None,
    cores: int | None = None,
    rates: bool = False,
) -> "TrialHandle":
    """The trial that an argument means. Raises UserError.

    An argument that is an existing file, or ends in .yaml or .yml, is an experiment's file with `store`; where its data
    is needed, it is looked for in `data_root`, and where it runs, it takes `cores` and writes its report to `out`. Any
    other is the name of an Experiment on the cluster.
    """
    file = file_of(trial)
    if file is None:
        from syntrial.remote.trial import ClusterTrial

        door, remote = experiment_on_cluster(trial, context=context, namespace=namespace)
        spelling = trial + options_words(context, namespace)
        return ClusterTrial(door, remote, secret=secret, endpoint=endpoint, spelling=spelling, rates=rates)
    from syntrial.artifacts.store import open_store
    from syntrial.experiment.file import read_experiment
    from syntrial.trial.handle import LocalTrial

    experiment = read_experiment(file)
    opened = open_store(store)
    return LocalTrial(
        experiment,
        store=opened,
        spelling=trial if store == DEFAULT_STORE else f"{trial} --store {store}",
        draft=lambda: draft_of(experiment, base=file.parent, store=opened, data_root=data_root),
        run=lambda drafted: run_draft(drafted, store=opened, out=out, cores=cores),
    )


def file_of(trial: str) -> Path | None:
    """The experiment's file that an argument means, or None where it is a name on the cluster."""
    path = Path(trial)
    return path if path.suffix in {".yaml", ".yml"} or path.is_file() else None


def connected(context: str | None, namespace: str | None) -> "Door":
    """The cluster that the options mean, as kubectl understands them."""
    from syntrial.cluster.client import connect

    return connect(context, namespace)


def experiment_on_cluster(name: str, *, context: str | None, namespace: str | None) -> "tuple[Door, Remote]":
    """The cluster, and the Experiment of that name in the namespace that is meant; raises UserError."""
    from syntrial.errors import UserError
    from syntrial.remote.experiments import find

    if file_of(name) is not None:
        raise UserError(
            field="NAME",
            rule="names an Experiment on the cluster",
            received=f"{name}, a file",
            remedy="Give the name in its metadata.",
        )
    door = connected(context, namespace)
    return door, find(door, name, namespace=door.namespace)


def options_words(context: str | None, namespace: str | None) -> str:
    """The options that a command needs to mean the same cluster and namespace, as a user types them."""
    given = (("--context", context), ("-n", namespace))
    return "".join(f" {name} {value}" for name, value in given if value is not None)
