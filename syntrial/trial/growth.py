"""How a plan grows: decisions that the store has on record, and the plan made anew with them until it asks no more.

The same on a laptop and on a cluster. What searches decided is read from their steps' artifacts; a trial whose step is
not tried again is left out of its search, by what its attempts say.
"""

from collections.abc import Mapping
from typing import Final

from syntrial.artifacts.store import ArtifactStore
from syntrial.documents.document import read
from syntrial.documents.search import MEMBER, NAME, Decision
from syntrial.errors import DataLoss
from syntrial.experiment.model import Experiment
from syntrial.plan.planner import plan
from syntrial.plan.search import NONE, Decisions
from syntrial.plan.steps import Plan, Step
from syntrial.trial.attempts import FAILED, is_given_up, since_retry
from syntrial.v1.artifacts_pb2 import MemberRef
from syntrial.v1.data_preparation_pb2 import Source

WORDS: Final = 300
"""How much of a trial's last message is told on."""


def grown(
    experiment: Experiment,
    sources: Mapping[str, Source],
    *,
    uid: str,
    store: ArtifactStore,
    known: Decisions = NONE,
    earlier: Mapping[str, str] | None = None,
) -> tuple[Plan, Decisions]:
    """The plan with all that is decided by now, and those decisions; `known` need not be read again.

    `earlier` is that of `Sources`.
    """
    decisions = known
    while True:
        found = plan(experiment, sources, decisions=decisions, earlier=earlier)
        made, failed = read_decisions(found, store=store), read_failed(found, uid=uid, store=store)
        if not made and not failed:
            return found, decisions
        decisions = Decisions(made={**decisions.made, **made}, failed={**decisions.failed, **failed})


def read_decisions(found: Plan, *, store: ArtifactStore) -> dict[str, Decision]:
    """What was decided of that which the plan waits for, by key."""
    if not found.undecided:
        return {}
    done = store.done(found.undecided)
    made = {}
    for key in found.undecided:
        if key in done:
            try:
                made[key] = read(Decision, store.open(MemberRef(key=key, member=MEMBER)), NAME)
            except DataLoss:
                # It is decided again, and by the same figures to the same end.
                store.quarantine(key)
    return made


def read_failed(found: Plan, *, uid: str, store: ArtifactStore) -> dict[str, str]:
    """Why steps of trials that could run now are not tried again, by key."""
    steps = [step for step in found.training if step.of_trial]
    if not found.undecided or not steps:
        return {}
    done = store.done({key for step in steps for key in (step.key, *step.after)})
    able = [step for step in steps if step.key not in done and done.issuperset(step.after)]
    failed = {}
    recorded = store.each(lambda step: store.attempts(step.key, experiment=uid), able)
    for step, attempts in zip(able, recorded, strict=True):
        if is_given_up(attempts):
            last = [attempt for attempt in since_retry(attempts) if attempt.outcome == FAILED][-1]
            failed[step.key] = failed_words(step, reason=last.reason, message=last.message)
    return failed


def failed_words(step: Step, *, reason: str, message: str) -> str:
    """What a search is told of a trial's step that is not tried again."""
    return f"{step.label.partition(' ')[0]}: {reason}: {message.partition(chr(10))[0]}"[:WORDS]
