"""What a status says of a report's verdict."""

from typing import Any

import pytest

from syntrial.artifacts.store import open_store
from syntrial.cluster.crd.status import Verdict
from syntrial.trial.status import read_verdict
from tests.unit.trial_records import put_step

VERDICT: dict[str, Any] = {
    "outcome": "harms",
    "by_less_than_margin": True,
    "estimate": -0.006,
    "interval_95": [-0.0092, -0.0027],
    "words": "It harms.",
}


def read(**changes: Any) -> dict[str, Any]:
    store = open_store("memory://")
    report = {"endpoint": {"metric": "auroc"}, "verdict": {**VERDICT, **changes}}
    members = {"report": {"report.json": report}}
    return read_verdict(store, put_step(store, "report", method="AnalysisService/WriteReport", members=members))


def test_a_harm_within_the_margin_is_told_as_such() -> None:
    assert read() == {
        "decision": "harms",
        "byLessThanMargin": True,
        "effect": -0.006,
        "low": -0.0092,
        "high": -0.0027,
        "metric": "auroc",
        "words": "It harms.",
    }


@pytest.mark.parametrize("interval", [None, [-0.1, 0.2]])
def test_without_a_standard_error_there_are_no_ends(interval: list[float] | None) -> None:
    found = read(outcome="inconclusive", by_less_than_margin=False, interval_95=interval)
    assert ("low" in found, "high" in found) == ((interval is not None),) * 2
    Verdict.model_validate(found)
