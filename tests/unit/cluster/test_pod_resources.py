"""Limits of pods whose experiment gives none, and how they stand beside what it gives."""

import json
from typing import Any

import pytest
import yaml

from k8s.crd.generate import REPOSITORY
from syntrial.cluster.pod_resources import DEFAULTS, defaults_from, with_defaults
from syntrial.errors import UserError
from syntrial.experiment.pods import Resources

KNOWN = {"cpu": "750m", "memory": "1536Mi"}
USUAL = Resources(requests={"ephemeral-storage": "1Gi"}, limits={"memory": "8Gi", "ephemeral-storage": "50Gi"})


def made(scratch: str | None = None, **given: Any) -> Any:
    found = with_defaults(Resources.model_validate(given), USUAL, known=KNOWN, scratch=scratch)
    # What comes out is what an API server takes.
    Resources.model_validate(found)
    return found


def test_the_chart_says_the_same_as_the_controller_without_it() -> None:
    values = yaml.safe_load((REPOSITORY / "charts/syntrial/values.yaml").read_text())
    assert defaults_from(json.dumps(values["pods"])) == dict(DEFAULTS)


def test_every_pod_has_a_limit_of_memory_and_of_disk() -> None:
    for defaults in DEFAULTS.values():
        found = with_defaults(Resources(), defaults, known=KNOWN, scratch=None)
        assert found["limits"].keys() >= {"memory", "ephemeral-storage"}
        assert found["requests"].keys() == {"cpu", "memory", "ephemeral-storage"}


def test_where_an_experiment_says_nothing_it_has_the_defaults() -> None:
    assert made() == {
        "requests": {"cpu": "750m", "ephemeral-storage": "1Gi", "memory": "1536Mi"},
        "limits": {"ephemeral-storage": "50Gi", "memory": "8Gi"},
    }


def test_what_an_experiment_gives_stands() -> None:
    given = {"requests": {"cpu": "4"}, "limits": {"memory": "64Gi", "nvidia.com/gpu": "1"}}
    assert made(**given) == {
        "requests": {"cpu": "4", "ephemeral-storage": "1Gi"},
        "limits": {"ephemeral-storage": "50Gi", "memory": "64Gi", "nvidia.com/gpu": "1"},
    }


def test_a_larger_request_raises_the_limit_and_a_smaller_limit_lowers_what_is_asked_for() -> None:
    assert made(requests={"memory": "20Gi"})["limits"]["memory"] == "20Gi"
    small = Resources(limits={"memory": "1Gi"})
    assert with_defaults(Resources(), small, known=KNOWN, scratch=None)["requests"]["memory"] == "1Gi"


def test_there_is_room_for_the_scratch_that_is_asked_for() -> None:
    assert made("20Gi")["limits"]["ephemeral-storage"] == "50Gi"
    assert made("100Gi")["limits"]["ephemeral-storage"] == str(101 << 30)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{",
        '{"filter": {}}',
        '{"filtering": {"limits": {"memory": "much"}}}',
        '{"filtering": 1}',
        "[" * 90_000,
    ],
)
def test_defaults_that_are_none_are_refused(text: str) -> None:
    with pytest.raises(UserError, match="requests and limits by component"):
        defaults_from(text)
