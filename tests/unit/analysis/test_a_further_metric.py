"""What docs/extending.md promises of a metric: one row, and the verdict, the plan and both reports know it."""

import io
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from rich.console import Console

from syntrial.analysis.accuracy import mean_leave_one_out
from syntrial.analysis.cases import ClusteredCases, FloatArray, LeaveOneOut, mean_of
from syntrial.analysis.forest import forest_plot
from syntrial.analysis.metrics import METRICS, Metric
from syntrial.analysis.power import detectable_effect_before
from syntrial.analysis.report import write_report
from syntrial.analysis.statistics import compare
from syntrial.analysis.tables import terminal_summary
from syntrial.analysis.verdict import verdict


def brier(labels: NDArray[Any], scores_MNK: FloatArray, cases: ClusteredCases, least: int) -> LeaveOneOut:
    """Mean squared distance of probabilities from the truth (Brier 1950): 0 is best, 2 is worst."""
    del least
    truth_NK = np.eye(scores_MNK.shape[2])[labels]
    squares_MN = np.square(scores_MNK - truth_NK).sum(axis=2)
    everything_N = np.ones(len(labels), dtype=np.bool_)
    return mean_of([mean_leave_one_out(squares_MN, everything_N, cases)], ())


def brier_variance(cases_per_class: Sequence[int], value: float) -> float:
    """As if the squares spread as far as they lie from 0."""
    return value**2 / sum(cases_per_class)


BRIER = Metric(
    name="brier",
    words="Brier score",
    heading="Brier",
    higher_is_better=False,
    range=(0.0, 2.0),
    by_class=False,
    function=brier,
    planned_range=(0.3, 0.2),
    planned_variance=brier_variance,
)


@pytest.fixture(autouse=True)
def _a_further_row(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(METRICS, BRIER.name, BRIER)


def study(*, arm_skill: float, control_skill: float) -> dict[str, Any]:
    rng = np.random.default_rng(0)
    labels = np.arange(200) % 2
    difficulty = rng.normal(0, 1, 200)

    def scores(skill: float) -> NDArray[np.float64]:
        logits = skill * (2 * labels - 1) + difficulty + rng.normal(0, 0.2, (5, 200))
        positive = 1 / (1 + np.exp(-logits))
        return np.stack([1 - positive, positive], axis=-1)

    return {
        "labels": labels,
        "arm_scores": scores(arm_skill),
        "control_scores": scores(control_skill),
        "clusters": np.arange(200),
    }


def judged(**skills: float) -> Any:
    parts = study(**skills)
    return verdict(compare(parts.pop("labels"), metric="brier", **parts), margin=0.02)


def test_of_a_metric_whose_lower_values_are_better_a_fall_improves() -> None:
    better = judged(arm_skill=2.0, control_skill=0.8)
    assert (better.outcome, "improves Brier score" in better.words) == ("improves", True)
    assert judged(arm_skill=0.8, control_skill=2.0).outcome == "harms"


def test_the_same_fall_of_a_metric_whose_higher_values_are_better_harms(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(METRICS, BRIER.name, replace(BRIER, higher_is_better=True))
    assert judged(arm_skill=2.0, control_skill=0.8).outcome == "harms"


def test_the_plan_knows_what_it_could_detect() -> None:
    small, large = (detectable_effect_before((count, count), replicates=5, metric="brier") for count in (50, 500))
    assert 0 < large < small


def test_both_tables_of_arms_have_its_column(made_up_trial: Callable[..., Any]) -> None:
    trial = made_up_trial().small()
    context = trial.context()
    write_report(trial.request, context)
    member = context.result("report")
    report, html = member.json("report.json"), member.read("report.html").decode()
    for arm in report["arms"]:
        low, high = arm["metrics"]["brier"]["interval_95"]
        assert 0 <= low <= arm["metrics"]["brier"]["mean"] <= high <= 2
    assert '<th class="n">Brier score</th>' in html
    console = Console(file=io.StringIO(), width=160)
    console.print(terminal_summary(report))
    assert "Brier" in console.file.getvalue()  # type: ignore[attr-defined]


def test_the_forest_plot_says_on_which_side_the_arm_is_better() -> None:
    found = {
        "role": "primary",
        "interval_95": [-0.03, -0.01],
        "estimate": -0.02,
        "outcome": "improves",
        "by_less_than_margin": False,
        "replicates": 5,
        "arm_label": "arm",
        "control_label": "real",
    }
    lower = forest_plot([found], margin=0.02, metric=BRIER)
    assert "← arm better" in lower
    assert "control better →" in lower
    assert "← control better" in forest_plot([found], margin=0.02, metric=METRICS["auroc"])
