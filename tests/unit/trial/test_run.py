"""The order of a trial's parts."""

from pathlib import Path
from typing import Any

from syntrial.artifacts.store import open_store
from syntrial.errors import SyntrialError, UserError
from syntrial.experiment.file import validate
from syntrial.plan.steps import Step
from syntrial.sources.resolve import resolve_sources
from syntrial.trial.run import Trial, data_steps, draft, run
from tests.unit.obedient import ObedientExecutor

DRAWN: dict[str, Any] = {"phantom": {"trainPatients": 24, "validationPatients": 12, "testPatients": 24}}


def trial() -> Trial:
    """A generated set and an imported one, each with its controls."""
    synthetic = [{"name": "edm", "generator": {"diffusion": {}}}, {"name": "given", "images": DRAWN}]
    spec = {"dataset": DRAWN, "synthetic": synthetic}
    experiment = validate(
        {"apiVersion": "syntrial.dev/v1alpha1", "kind": "Experiment", "metadata": {"name": "x"}, "spec": spec}
    )
    return draft(experiment, resolve_sources(experiment, base=Path()))


def test_wrong_data_ends_a_trial_before_anything_else_starts() -> None:
    def refuse_imports(step: Step, _: int) -> SyntrialError | None:
        wrong = UserError(field="classMap", rule="r", received="x", remedy="d")
        return wrong if step.method.endswith("ImportImages") else None

    store = open_store("memory://")
    executor = ObedientExecutor(store, behaviour=refuse_imports)
    _, outcome = run(trial(), store=store, executor=executor, on_event=lambda _event: None)
    assert executor.order == ["prepare the data set", "import given"]
    assert [str(failure.error) for failure in outcome.failures] == ["classMap: r; received x. d"]


def test_the_steps_that_read_sources_wait_for_each_other_alone() -> None:
    steps = data_steps(trial().plan)
    assert [step.label for step in steps] == ["prepare the data set", "import given"]
    assert {step.key for step in steps}.issuperset(key for step in steps for key in step.after)
