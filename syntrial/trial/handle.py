"""A trial here or there: what `report`, `retry`, `logs`, `status` and `export` ask of it, wherever it runs.

`LocalTrial` is an experiment's file with a store on this machine, `syntrial.remote.trial.ClusterTrial` an Experiment
on a cluster. Record, report, logs of attempts and export are read from the trial's store by its identifier, so they are
written once, on any handle; what differs is a method of it.
"""

import functools
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any, Protocol

from syntrial.artifacts.store import ArtifactStore
from syntrial.errors import ArtifactMissing
from syntrial.experiment.file import to_yaml
from syntrial.experiment.model import Experiment
from syntrial.experiment.trees import read_tree
from syntrial.trial import status as words
from syntrial.trial.attempts import LogSection, forgive, remembered_failures
from syntrial.trial.export import write_report
from syntrial.trial.record import find_report
from syntrial.trial.run import BESIDE_THE_RESULT, Trial, known_looks, with_looks
from syntrial.trial.status import StepFailure, TrialStatus, condition
from syntrial.v1.progress_pb2 import StepProgress


class TrialHandle(Protocol):
    """A trial, on this machine or on a cluster."""

    @property
    def name(self) -> str:
        """The experiment's name."""
        ...

    @property
    def title(self) -> str:
        """What a person calls it: "small", or "lab/small" on a cluster."""
        ...

    @property
    def spelling(self) -> str:
        """What a user types to mean it, options included: "small.yaml --store here", "small -n lab"."""
        ...

    @property
    def uid(self) -> str:
        """What its store files it under."""
        ...

    def store(self) -> AbstractContextManager[ArtifactStore]:
        """Its store, for a block."""
        ...

    def is_behind(self) -> bool:
        """Whether what its store has on record was asked by another specification than it has now."""
        ...

    def look(self) -> TrialStatus:
        """How far it is now. Raises ClusterUnavailable or StoreUnavailable where nobody answers."""
        ...

    def running(self, *, patience: float = 0.0) -> Mapping[str, StepProgress]:
        """The progress of what runs, by the step's label, as far as it can be asked; looks at what `look` saw.

        Waits at most `patience` seconds for the first answers.
        """
        ...

    def retry(self, *, on_forgiven: Callable[[str], None]) -> str:
        """Tries again what failed, and takes up what was stopped; says what became of that, or "" where it has run.

        `on_forgiven` is told the label of each step, or the name of each reading of a source, that is tried again.
        """
        ...

    @property
    def has_live_logs(self) -> bool:
        """Whether what its servers print can be read while they run; else logs are those of attempts that ended."""
        ...

    def live_logs(self, keys: set[str] | None) -> Iterator[LogSection]:
        """What servers that run now have printed of these steps; None: of all."""
        ...

    def follow_logs(self, keys: set[str] | None) -> Iterator[tuple[str, str]]:
        """Lines as running servers print them, each with its server's name, until these steps are over."""
        ...


def fetch_report(trial: TrialHandle, *, out: Path) -> dict[str, Any]:
    """Writes the report and the experiment that ran into `out`; returns the report.

    Raises ArtifactMissing where there is none yet of the trial as it is asked now.
    """
    if trial.is_behind():
        raise ArtifactMissing(
            f"{trial.name} has changed since it ran, and has no report yet: "
            f"`syntrial status {trial.spelling}` says how far it is"
        )
    with trial.store() as store:
        key = find_report(store, uid=trial.uid)
        if key is None:
            raise ArtifactMissing(
                f"{trial.name} has no report yet: `syntrial status {trial.spelling}` says how far it is"
            )
        return write_report(store, key=key, uid=trial.uid, out=out)


class LocalTrial:
    """An experiment's file with its store, on this machine."""

    has_live_logs = False

    def __init__(
        self,
        experiment: Experiment,
        *,
        store: ArtifactStore,
        spelling: str,
        draft: Callable[[], Trial],
        run: Callable[[Trial], None],
    ) -> None:
        """`draft` resolves the experiment's sources and plans it, once; `run` runs a draft to its verdict."""
        self.name = self.uid = self.title = experiment.metadata.name
        self.spelling = spelling
        self._experiment = experiment
        self._store = store
        self._draft = functools.cache(draft)
        self._run = run

    def store(self) -> AbstractContextManager[ArtifactStore]:
        """The store that was given."""
        return nullcontext(self._store)

    def is_behind(self) -> bool:
        """Whether the file asks something else than what ran last under its name."""
        data = self._store.experiment_file(self.uid, "experiment.yaml")
        return data is not None and what_is_asked(data.decode()) != what_is_asked(to_yaml(self._experiment))

    def look(self) -> TrialStatus:
        """How far the file as it is now is, by what the store has; its sources are resolved and planned for that."""
        drafted = self._draft()
        trial = with_looks(drafted, known_looks(drafted, store=self._store))
        plan = trial.plan
        done = self._store.done(step.key for step in plan.steps)
        failed = {
            step.key: StepFailure(reason=attempt.reason, message=attempt.message)
            for step, attempt in remembered_failures(plan, uid=self.uid, store=self._store)
        }
        total = words.total_of(plan)
        found: dict[str, Any] = {
            "steps": {"total": total, "done": len(done), "failed": len(failed)},
            "progress": f"{len(done)}/{total}",
            "stages": words.stage_counts(plan, done=done, failed=failed),
            "failures": words.failures(plan, failed),
            "endpoint": words.endpoint_words(self._experiment),
        }
        conditions = [words.planned(plan), words.audited(plan, done=done, failed=failed)]
        if len(done) == total:
            key = plan.report[-1].key
            found["verdict"] = words.read_verdict(self._store, key)
            found["report"] = {"address": f"{self._store.url}/artifacts/{key}", "key": key}
            conditions += [words.finished(), words.reached(found["verdict"])]
        elif failed:
            # A run begins with no step where one would fail again.
            conditions += [words.stuck(len(failed)), words.unreached(plan, failed=failed)]
        else:
            unseen = "what runs is shown where it was started, and is not on record"
            conditions += [
                condition(words.PROGRESSING, "Unknown", "NotWatched", unseen),
                words.unreached(plan, failed=()),
            ]
        found["conditions"] = conditions
        is_open = len(done) < total and not failed
        return TrialStatus(title=self.title, found=found, waits_for="run" if is_open else "")

    def running(self, *, patience: float = 0.0) -> Mapping[str, StepProgress]:
        """Nothing: what runs tells of its progress where it was started."""
        del patience
        return {}

    def retry(self, *, on_forgiven: Callable[[str], None]) -> str:
        """Forgives failed steps and runs the trial to its verdict."""
        trial = self._draft()
        for label in forgive({step.key: step.label for step in trial.plan.steps}, uid=self.uid, store=self._store):
            on_forgiven(label)
        self._run(trial)
        return ""

    def live_logs(self, keys: set[str] | None) -> Iterator[LogSection]:
        """Nothing: a server on this machine prints where it was started."""
        del keys
        return iter(())

    def follow_logs(self, keys: set[str] | None) -> Iterator[tuple[str, str]]:
        """Nothing, as of `live_logs`."""
        del keys
        return iter(())


def what_is_asked(text: str) -> Any:
    """What an experiment in YAML asks: its specification but for what never bears on a result."""
    tree = read_tree(text, name="experiment.yaml")
    spec = tree.get("spec") if isinstance(tree, dict) else None
    return {name: value for name, value in (spec or {}).items() if name not in BESIDE_THE_RESULT}
