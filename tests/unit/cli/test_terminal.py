"""What a run says where its output is no terminal."""

import pytest

from syntrial.cli.terminal import line_of
from syntrial.v1.progress_pb2 import StepProgress


@pytest.mark.parametrize(
    ("fields", "line"),
    [
        (
            {"done": 1200, "total": 4200, "unit": "images", "rate": 25.0, "activity": "reading"},
            "prepare: reading, 1,200 of 4,200 images  25 images/s  2 min left",
        ),
        ({"done": 7, "unit": "images", "rate": 1.0}, "prepare: 7 images  1 images/s"),
        ({"done": 5, "total": 5, "unit": "steps", "rate": 2.0}, "prepare: 5 of 5 steps  2 steps/s"),
        ({"done": 0, "total": 5, "unit": "steps"}, "prepare: 0 of 5 steps"),
        (
            {"done": 1, "total": 3, "unit": "steps", "rate": 1.0, "figures": {"loss": 0.123456}},
            "prepare: 1 of 3 steps  1 steps/s  2 s left  loss 0.1235",
        ),
    ],
)
def test_a_line_says_how_far_a_step_is_how_fast_and_how_long_it_takes_yet(fields: dict[str, object], line: str) -> None:
    assert line_of("prepare", StepProgress(**fields)) == line  # type: ignore[arg-type]
