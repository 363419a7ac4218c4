"""How far a trial is, in the form and the words of an Experiment's status: on a laptop as on a cluster.

`TrialStatus` is one look at a trial, wherever it runs. The functions word what both kinds of trial say alike; the
controller writes the same into the objects (`syntrial.controller.conditions`), in the schema of
`syntrial.cluster.crd.status`. Pure but for `read_verdict`.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, Final

from syntrial.artifacts.store import ArtifactStore
from syntrial.counting import counted
from syntrial.experiment.model import Experiment
from syntrial.plan.search import SEARCHING
from syntrial.plan.steps import Plan
from syntrial.stages import STAGES, stage_of
from syntrial.v1.artifacts_pb2 import MemberRef

VALID: Final = "Valid"
AUDITED: Final = "Audited"
PROGRESSING: Final = "Progressing"
SUCCEEDED: Final = "Succeeded"
TRACKED: Final = "Tracked"
"""Whether MLflow shows what the trial has come to, where the experiment asks for that on a cluster: written by another
process than all others, see `syntrial.controller.tracker`."""

PLANNED_BEFORE: Final = "PlannedBefore"
"""Reason of the condition Valid of a trial whose plan is kept, see `syntrial.trial.kept`."""

FAILURES_SHOWN: Final = 8
MESSAGE_BYTES: Final = 1024


@dataclass(frozen=True, kw_only=True, slots=True)
class TrialStatus:
    """One look at a trial."""

    title: str
    """What a person calls it: "small", or "lab/small" on a cluster."""
    found: Mapping[str, Any]
    """As an Experiment has it; empty where nobody has looked yet."""
    waits_for: str = ""
    """The command without which nothing goes on: "run" on this machine, "retry" of a suspended Experiment; else ""."""
    is_suspended: bool = False
    """Whether the user paused it."""
    is_behind: bool = False
    """Whether it speaks of an older specification."""

    def condition(self, kind: str) -> str:
        """ "True", "False" or "Unknown"."""
        conditions = (item for item in self.found.get("conditions", ()) if item.get("type") == kind)
        return next((str(item.get("status")) for item in conditions), "Unknown")

    @property
    def is_kept(self) -> bool:
        """Whether another version planned and finished it, where this one would plan it otherwise."""
        conditions = (item for item in self.found.get("conditions", ()) if item.get("type") == VALID)
        return any(item.get("reason") == PLANNED_BEFORE for item in conditions)

    @property
    def is_over(self) -> bool:
        """Whether nothing more happens unless the user does something."""
        if not self.found or self.is_behind:
            return False
        given_up = self.condition(PROGRESSING) == "False" and self.condition(SUCCEEDED) == "False"
        return self.condition(SUCCEEDED) == "True" or self.condition(VALID) == "False" or given_up


@dataclass(frozen=True, kw_only=True, slots=True)
class StepFailure:
    """Why a step is not tried again."""

    reason: str
    message: str


def condition(kind: str, value: str, reason: str, message: str) -> dict[str, Any]:
    """A condition without its time of transition."""
    return {"type": kind, "status": value, "reason": reason, "message": message}


def more_words(plan: Plan) -> str:
    """ ", and up to N more …" of a plan that waits for decisions; else ""."""
    if not plan.undecided:
        return ""
    searches = sum(step.key in plan.undecided and step.method in SEARCHING for step in plan.training)
    reasons = [f"as {'a search decides' if searches == 1 else f'{searches} searches decide'}"] if searches else []
    if searches < len(plan.undecided):
        reasons.append("where filters leave too few images")
    return f", and up to {plan.more:,} more {' and '.join(reasons)}"


def planned(plan: Plan) -> dict[str, Any]:
    """The condition Valid of a trial that is planned."""
    return condition(VALID, "True", "Planned", f"{counted(len(plan.steps), 'step')}{more_words(plan)}")


def kept(plan: Plan) -> dict[str, Any]:
    """The condition Valid of a trial that another version planned and brought to its verdict."""
    words = "as another version planned and finished them; `syntrial retry` plans and runs them anew with this one"
    return condition(VALID, "True", PLANNED_BEFORE, f"{counted(len(plan.steps), 'step')}, {words}")


def audited(plan: Plan, *, done: Collection[str], failed: Mapping[str, StepFailure]) -> dict[str, Any]:
    """The condition Audited: whether the data was prepared and its leaks judged."""
    keys = [step.key for step in plan.steps if stage_of(step.method).name == "data_prep"]
    for key in keys:
        if key in failed:
            return condition(AUDITED, "False", failed[key].reason or "Failed", shortened(failed[key].message))
    if all(key in done for key in keys):
        return condition(AUDITED, "True", "Audited", "the data is prepared and its leaks are judged; see the report")
    return condition(AUDITED, "Unknown", "NotPrepared", "the data is not prepared yet")


def finished() -> dict[str, Any]:
    """The condition Progressing of a trial whose report stands."""
    return condition(PROGRESSING, "False", "Finished", "all steps are done")


def stuck(count: int) -> dict[str, Any]:
    """The condition Progressing where so many steps failed for good and nothing else can go on."""
    return condition(PROGRESSING, "False", "StepsFailed", f"{count} failed; `syntrial retry` tries again")


def reached(verdict: Mapping[str, Any]) -> dict[str, Any]:
    """The condition Succeeded of a trial whose report stands."""
    return condition(SUCCEEDED, "True", "VerdictReached", shortened(str(verdict.get("words", ""))))


def unreached(plan: Plan, *, failed: Collection[str]) -> dict[str, Any]:
    """The condition Succeeded of a trial without a report; `failed` holds the steps that keep it from one."""
    if failed:
        labels = [step.label for step in plan.steps if step.key in failed]
        return condition(SUCCEEDED, "False", "StepsFailed", shortened(", ".join(labels)))
    return condition(SUCCEEDED, "Unknown", "Progressing", "there is no verdict yet")


def total_of(plan: Plan) -> int:
    """Steps of a plan; the report is planned last, and before that it is one step more than the plan has."""
    return len(plan.steps) + (0 if plan.report else 1)


def stage_counts(
    plan: Plan, *, done: Collection[str], failed: Collection[str], running: Collection[str] = ()
) -> list[dict[str, Any]]:
    """Counts of the steps of each stage that the plan asks, by keys, in pipeline order."""
    by_stage: dict[str, list[str]] = {name: [] for name in STAGES}
    for step in plan.steps:
        by_stage[stage_of(step.method).name].append(step.key)
    found = []
    for name, keys in by_stage.items():
        extra = 1 if name == "analysis" and not plan.report else 0
        if keys or extra:
            found.append(
                {
                    "name": name,
                    "total": len(keys) + extra,
                    "done": sum(key in done for key in keys),
                    "running": sum(key in running for key in keys),
                    "failed": sum(key in failed for key in keys),
                }
            )
    return found


def failures(plan: Plan, failed: Mapping[str, StepFailure]) -> list[dict[str, Any]]:
    """The first of the steps that failed for good, in the plan's order."""
    return [
        {
            "label": step.label,
            "key": step.key,
            "reason": failed[step.key].reason,
            "message": shortened(failed[step.key].message),
        }
        for step in plan.steps
        if step.key in failed
    ][:FAILURES_SHOWN]


def endpoint_words(experiment: Experiment) -> str:
    """The primary comparison in words: "auroc, augment-100 with edm, small-cnn"; what it is against, where stated."""
    spec = experiment.spec
    against = f" against {spec.reference.words}" if spec.reference else ""
    return f"{spec.endpoint.metric}, {spec.primary.words}{against}"


def read_verdict(store: ArtifactStore, key: str) -> dict[str, Any]:
    """What the status says of the report `key`: the verdict of its primary comparison."""
    report = store.open(MemberRef(key=key, member="report")).json("report.json")
    verdict = report["verdict"]
    # There is no interval where there is no standard error.
    ends = zip(("low", "high"), verdict["interval_95"] or (), strict=False)
    return {
        "decision": verdict["outcome"],
        "byLessThanMargin": verdict["by_less_than_margin"],
        "effect": round(float(verdict["estimate"]), 6),
        **{name: round(float(end), 6) for name, end in ends},
        "metric": report["endpoint"]["metric"],
        "words": verdict["words"],
    }


def shortened(text: str, *, length: int = MESSAGE_BYTES) -> str:
    """At most so many bytes of UTF-8, its end left out."""
    data = text.encode()
    return text if len(data) <= length else data[: length - 3].decode(errors="ignore") + "…"
