from pathlib import Path
from typing import Any

import pytest
import yaml

from syntrial.errors import UserError
from syntrial.experiment.allowed import Allowed, allowed_from, check_allowed
from syntrial.experiment.file import read_experiment, validate
from syntrial.experiment.model import Experiment
from tests.contract.placements import ALLOWED, ASKED
from tests.contract.refusals import experiment

REPOSITORY = Path(__file__).resolve().parents[3]
FILES = sorted([*REPOSITORY.glob("examples/*.yaml"), *REPOSITORY.glob("k8s/samples/*.yaml")])


def read(fields: dict[str, Any]) -> Experiment:
    return validate(experiment("tried", fields))


@pytest.mark.parametrize("name", ASKED)
def test_what_is_not_allowed_is_refused_with_field_rule_value_and_remedy_and_its_twin_is_not(name: str) -> None:
    case = ASKED[name]
    check_allowed(read(case.good), ALLOWED)
    with pytest.raises(UserError) as caught:
        check_allowed(read(case.bad), ALLOWED)
    (violation,) = caught.value.violations
    assert violation.field == case.field
    assert violation.rule == f"this cluster allows {case.allows}"
    assert violation.received.startswith(case.received)
    assert f"(`{case.setting}`)" in violation.remedy


def test_all_that_is_asked_for_too_much_is_said_at_once() -> None:
    fields = {"cluster": {"priorityClassName": "urgent", "stages": {"analysis": {"runtimeClassName": "kata"}}}}
    with pytest.raises(UserError) as caught:
        check_allowed(read(fields), ALLOWED)
    assert len(caught.value.violations) == 2


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_what_is_allowed_by_default_suffices_for_examples_and_samples(file: Path) -> None:
    check_allowed(read_experiment(file), Allowed())


def test_the_defaults_are_those_of_the_chart() -> None:
    values = yaml.safe_load((REPOSITORY / "charts" / "syntrial" / "values.yaml").read_text())
    assert Allowed.model_validate(values["admission"]["allowed"]) == Allowed()
    assert allowed_from("{}") == Allowed()


@pytest.mark.parametrize(
    ("text", "field"),
    [
        ('{"priorityClass": ["x"]}', "--allowed.priorityClass"),
        ('{"tolerationKeys": ["a*b"]}', "--allowed.tolerationKeys.0"),
        ("[]", "--allowed"),
        ("no JSON", "--allowed"),
    ],
)
def test_wrong_lists_are_refused_by_name(text: str, field: str) -> None:
    with pytest.raises(UserError) as caught:
        allowed_from(text)
    assert caught.value.violations[0].field == field
