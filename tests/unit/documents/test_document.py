"""Documents: what is written of a dataclass, and how strictly JSON is read."""

import json
from dataclasses import replace
from typing import Any

import pytest
from pydantic_core import PydanticSerializationError

from syntrial.documents.decisions import CopyFigures, FilterStep
from syntrial.documents.document import as_json, extended, parse
from syntrial.documents.quality import Memorised
from syntrial.documents.training import ClassifierTraining, Convergence, Curves, KeptCheckpoint, TrainedPhase
from syntrial.errors import VersionMismatch

PHASE = TrainedPhase(steps=5, images_seen={"real": 80}, pool={"real": 16}, synthetic_missing=0, learning_rate=0.003)
TRAINING = ClassifierTraining(
    version=1,
    curves=Curves(x_unit="steps", x=(1, 5), series={"validation_auroc": (None, 0.75)}),
    phases=(PHASE,),
    undertrained=False,
    convergence=None,
    checkpoint=KeptCheckpoint(choice="last-ema", step=5),
)


def text(**changes: Any) -> bytes:
    return json.dumps({**as_json(TRAINING), **changes}).encode()


def test_a_document_comes_back_from_its_json() -> None:
    assert parse(ClassifierTraining, text(), place="here") == TRAINING


def test_what_has_no_default_is_written_as_null_and_what_has_one_is_left_out() -> None:
    assert as_json(TRAINING)["convergence"] is None
    assert as_json(FilterStep(kind="random", candidates=8, kept=4, keep=0.5)) == {
        "kind": "random",
        "candidates": 8,
        "kept": 4,
        "keep": 0.5,
    }


def test_names_that_python_forbids_are_written_as_they_are_read() -> None:
    assert as_json(TRAINING)["schema"] == 1
    judged = Convergence(rule="a rule", from_step=1, to_step=5, fall=0.1, fall_in_standard_errors=3.0)
    assert parse(ClassifierTraining, text(convergence=as_json(judged)), place="here").convergence == judged


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"undertrained": None}, "undertrained"),
        ({"undertrained": 0}, "undertrained"),
        ({"checkpoint": {"choice": "best", "step": "5"}}, "checkpoint.step"),
        ({"phases": [{**as_json(PHASE), "stepz": 5}]}, "phases.0.stepz"),
        ({"phases": [{"steps": 5}]}, "phases.0.images_seen"),
        ({"schema": 2}, "schema"),
        ({"extra": 1}, "extra"),
    ],
)
def test_json_of_another_shape_is_refused_and_its_field_named(changes: dict[str, Any], field: str) -> None:
    with pytest.raises(VersionMismatch, match=f"the place is not .*: {field}: "):
        parse(ClassifierTraining, text(**changes), place="the place")


def test_what_is_no_json_is_refused() -> None:
    with pytest.raises(VersionMismatch, match="the whole"):
        parse(ClassifierTraining, b"{", place="the place")


def test_a_writer_that_puts_another_type_into_a_field_is_stopped() -> None:
    with pytest.raises(PydanticSerializationError, match="expected"):
        as_json(replace(TRAINING, undertrained="no"))


def test_a_document_that_extends_another_takes_its_fields() -> None:
    figures = CopyFigures(
        searched=60,
        count=1,
        rate=1 / 60,
        exact=0,
        threshold=0.5,
        quantile=0.001,
        calibration_images=80,
        calibration_share_under_threshold=0.0,
    )
    assert as_json(extended(Memorised, figures, pairs=())) == {**as_json(figures), "pairs": ()}
