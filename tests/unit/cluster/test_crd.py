"""The API server's schema is the model's: the same fields, the same rules, nothing that a structural schema lacks."""

import json
import re
import types
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import BaseModel

from k8s.crd import generate
from syntrial.cluster.crd.definition import LIMIT_BYTES, definition
from syntrial.cluster.crd.rules import ARM_PATTERN, RULES
from syntrial.cluster.crd.status import Status
from syntrial.errors import UserError
from syntrial.experiment.arms import arm_preset
from syntrial.experiment.file import validate
from syntrial.experiment.model import Experiment, Spec
from tests.contract.refusals import CASES, Case, experiment

FILES = sorted([*generate.REPOSITORY.glob("examples/*.yaml"), *generate.REPOSITORY.glob("k8s/samples/*.yaml")])


@pytest.fixture(scope="module")
def tree() -> dict[str, Any]:
    return definition(generate.field_comments())


@pytest.fixture(scope="module")
def schema(tree: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = tree["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    return found


def nodes(node: dict[str, Any], path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Every schema with its path; `[]` are items and `{}` values."""
    yield path, node
    for name, value in node.get("properties", {}).items():
        yield from nodes(value, f"{path}.{name}" if path else name)
    if "items" in node:
        yield from nodes(node["items"], f"{path}[]")
    if "additionalProperties" in node:
        yield from nodes(node["additionalProperties"], f"{path}{{}}")


def model_fields(model: type[BaseModel], path: str) -> Iterator[str]:
    for name, field in model.model_fields.items():
        where = f"{path}.{field.alias or name}"
        yield where
        yield from below(field.annotation, where)


def below(annotation: Any, path: str) -> Iterator[str]:
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield from model_fields(annotation, path)
    elif origin is tuple:
        yield from below(arguments[0], f"{path}[]")
    elif origin is dict:
        yield from below(arguments[1], f"{path}{{}}")
    elif origin is typing.Annotated:
        yield from below(arguments[0], path)
    elif origin in (typing.Union, types.UnionType):
        for argument in arguments:
            yield from below(argument, path)


def test_the_files_in_the_tree_and_in_the_chart_are_what_the_model_gives() -> None:
    for target in generate.TARGETS:
        assert target.read_text(encoding="utf-8") == generate.text(), f"{target} is stale: run `make crd`"


def test_it_is_small_enough_for_kubectl_apply(tree: dict[str, Any]) -> None:
    # Its annotation holds the object as JSON, however the file is laid out.
    assert len(json.dumps(tree).encode()) < LIMIT_BYTES


@pytest.mark.parametrize(("part", "model"), [("spec", Spec), ("status", Status)])
def test_schema_and_model_have_the_same_fields(schema: dict[str, Any], part: str, model: type[BaseModel]) -> None:
    found = {path for path, _ in nodes(schema["properties"][part], part) if path != part and path[-1] not in "]}"}
    assert found == set(model_fields(model, part))


def test_every_field_is_described_by_a_sentence(schema: dict[str, Any]) -> None:
    for path, node in nodes(schema):
        if path.startswith(("spec", "status")) and not path.endswith(("[]", "{}")):
            assert re.fullmatch(r"\S.+[.?!]", node["description"]), path


def test_a_default_is_told_and_never_applied(schema: dict[str, Any]) -> None:
    texts = {path: node.get("description", "") for path, node in nodes(schema)}
    assert not [path for path, node in nodes(schema) if "default" in node]
    assert texts["spec.replicates"].endswith("Default: 5.")
    assert texts["spec.arms"].endswith("Default: augment-100.")
    assert texts["spec.suspend"].endswith("Default: false.")
    assert texts["spec.endpoint.metric"].endswith("Default: auroc.")
    assert texts["spec.synthetic[].generator.gan.gamma"].endswith("Default: as the preset has it.")


def test_the_comments_of_the_protos_describe_what_presets_set(schema: dict[str, Any]) -> None:
    texts = {path: node.get("description", "") for path, node in nodes(schema)}
    assert texts["spec.synthetic[].generator.diffusion.channels"].startswith("Channels of each level of the U-Net")
    assert texts["spec.classifiers[].recipe.labelSmoothing"].startswith("Share of the label")


def test_the_schema_is_structural(schema: dict[str, Any]) -> None:
    forbidden = {"$ref", "$defs", "title", "const", "allOf", "exclusiveMinimum:", "uniqueItems"}
    for path, node in nodes(schema):
        assert not forbidden & set(node), path
        # What must be there may be said of alternatives; their types may not.
        assert all(set(branch) == {"required"} for branch in node.get("oneOf", ())), path
        if node.get("x-kubernetes-int-or-string"):
            assert node["anyOf"] == [{"type": "integer"}, {"type": "string"}], path
        elif node.get("x-kubernetes-preserve-unknown-fields"):
            assert path in {
                "spec.arms[]",
                "spec.synthetic[].generator.external.options",
                "spec.synthetic[].tune.among[].external.options",
                # Of fields of any type.
                "spec.synthetic[].tune.over{}.choice[]",
                "spec.classifiers[].tune.over{}.choice[]",
                # A list or its one item.
                "spec.dataset.table.images",
                "spec.synthetic[].images.table.images",
                "spec.synthetic[].generator.latentDiffusion.unlabelled[].table.images",
                "spec.synthetic[].tune.among[].latentDiffusion.unlabelled[].table.images",
                "spec.dataset.task.binary.positive",
                "spec.dataset.task.binary.negative",
                "spec.classifiers[].chain[].dataset.table.images",
                "spec.classifiers[].chain[].dataset.task.binary.positive",
                "spec.classifiers[].chain[].dataset.task.binary.negative",
            }
        else:
            assert node["type"] in {"object", "array", "string", "integer", "number", "boolean"}, path
        if node.get("type") == "array":
            assert "x-kubernetes-list-type" in node, path
        for bound in ("exclusiveMinimum", "exclusiveMaximum"):
            assert node.get(bound, True) is True, path
        for bound in ("minimum", "maximum"):
            # The API server rounds a bound where the value came as an integer.
            assert node.get(bound, 0) == int(node.get(bound, 0)), path
        assert not ("properties" in node and "additionalProperties" in node), path


def test_the_columns_show_what_a_person_asks_for(tree: dict[str, Any], schema: dict[str, Any]) -> None:
    columns = tree["spec"]["versions"][0]["additionalPrinterColumns"]
    assert [c["name"] for c in columns if not c.get("priority")] == ["Verdict", "Progress", "Running", "Age"]
    assert [c["name"] for c in columns if c.get("priority") == 1] == ["Endpoint", "Effect"]
    known = dict(nodes(schema))
    for column in columns[:-1]:
        assert known[column["jsonPath"].removeprefix(".")]["type"] == column["type"]


def models_in(model: type[BaseModel], found: set[type[BaseModel]]) -> set[type[BaseModel]]:
    found.add(model)

    def visit(annotation: Any) -> None:
        if isinstance(annotation, type) and issubclass(annotation, BaseModel):
            models_in(annotation, found)
        for argument in typing.get_args(annotation):
            visit(argument)

    for field in model.model_fields.values():
        visit(field.annotation)
    return found


def test_every_model_that_checks_across_fields_has_rules() -> None:
    checked = {m.__name__ for m in models_in(Experiment, set()) if m.__pydantic_decorators__.model_validators}
    # A phase's are in the schema itself, since CEL cannot look into arms.
    assert checked - {"PhaseSpec"} == set(RULES)


def test_every_rule_has_a_case() -> None:
    told = {rule.message for rules in RULES.values() for rule in rules}
    assert told == {case.message for case in CASES.values() if case.message} - {"Input should be less than 0.5"}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_the_laptop_refuses_in_the_same_words_and_admits_the_twin(case: Case) -> None:
    with pytest.raises(UserError) as caught:
        validate(experiment("x", case.bad))
    assert case.message in str(caught.value)
    validate(experiment("x", case.good))


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_the_schema_admits_the_twin(case: Case, schema: dict[str, Any]) -> None:
    assert problems(schema, experiment("x", case.good)) == []


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_examples_and_samples_are_valid_here_and_there(file: Path, schema: dict[str, Any]) -> None:
    given = yaml.safe_load(file.read_text(encoding="utf-8"))
    validate(given)
    assert problems(schema, given) == []


def test_the_pattern_of_arms_is_that_of_the_presets() -> None:
    names = ["real", "synthetic", "finetune", "Real", "real-twice", "augment", "augment-", "replace-100", "replace-0"]
    kinds = ("augment", "replace", "real")
    names += [f"{kind}-{number}" for kind in kinds for number in ("00", "007", *range(101), 10**5)]
    for name in names:
        try:
            arm_preset(name)
            known = True
        except ValueError:
            known = False
        assert bool(re.fullmatch(ARM_PATTERN, name)) == known, name


def problems(schema: dict[str, Any], value: Any, path: str = "") -> list[str]:
    """What a structural schema says of a value, without CEL; unknown fields count."""
    if value is None:
        return [] if schema.get("nullable") else [f"{path}: null"]
    found = []
    kinds = {"object": dict, "array": list, "string": str, "integer": int, "number": (int, float), "boolean": bool}
    kind = schema.get("type")
    if schema.get("x-kubernetes-int-or-string"):
        found += [] if isinstance(value, int | str) else [f"{path}: neither integer nor string"]
    elif kind and (not isinstance(value, kinds[kind]) or (isinstance(value, bool) and kind != "boolean")):
        return [f"{path}: no {kind}"]
    if isinstance(value, str):
        if "enum" in schema and value not in schema["enum"]:
            found.append(f"{path}: not among {schema['enum']}")
        if "pattern" in schema and not re.search(schema["pattern"], value):
            found.append(f"{path}: does not match")
        if len(value) > schema.get("maxLength", len(value)):
            found.append(f"{path}: too long")
    if isinstance(value, int | float):
        low, high = schema.get("minimum", value), schema.get("maximum", value)
        if value < low or (value == low and schema.get("exclusiveMinimum")):
            found.append(f"{path}: too small")
        if value > high or (value == high and schema.get("exclusiveMaximum")):
            found.append(f"{path}: too large")
    if isinstance(value, list):
        if not schema.get("minItems", 0) <= len(value) <= schema.get("maxItems", len(value)):
            found.append(f"{path}: too few or too many items")
        for number, item in enumerate(value):
            found += problems(schema["items"], item, f"{path}[{number}]")
    if isinstance(value, dict):
        found += [f"{path}.{name}: missing" for name in schema.get("required", ()) if name not in value]
        for name, item in value.items():
            if schema.get("x-kubernetes-preserve-unknown-fields") and name not in schema.get("properties", {}):
                continue
            inner = schema.get("properties", {}).get(name, schema.get("additionalProperties"))
            found += problems(inner, item, f"{path}.{name}") if inner else [f"{path}.{name}: unknown"]
    return found


FULL = yaml.safe_load((generate.REPOSITORY / "k8s" / "samples" / "pneumoniamnist.yaml").read_text(encoding="utf-8"))


def leaves(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in inner:
        yield from leaves(item, (*path, key))
    if not isinstance(value, dict | list):
        yield path


def replaced(value: Any, path: tuple[Any, ...], new: Any) -> Any:
    if not path:
        return new
    copy = dict(value) if isinstance(value, dict) else list(value)
    copy[path[0]] = replaced(copy[path[0]], path[1:], new)
    return copy


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    path=st.sampled_from([path for path in leaves(FULL["spec"]) if "arms" not in path or len(path) < 4]),
    number=st.one_of(st.integers(-2, 2**54), st.sampled_from([0.0, 0.25, 0.5, 1.5, 1e6])),
    text=st.sampled_from(["", "x", "-x", "X", "auto", "uniform", "x" * 64, "x" * 3000, "1Gi", "1.5", "Exists"]),
)
def test_what_the_laptop_admits_the_schema_admits(
    schema: dict[str, Any], path: tuple[Any, ...], number: float, text: str
) -> None:
    old = FULL["spec"]
    for key in path:
        old = old[key]
    # Values of the field's own type: a laptop also reads "5" as 5, an API server does not.
    changed = {**FULL, "spec": replaced(FULL["spec"], path, text if isinstance(old, str) else number)}
    try:
        validate(changed)
    except UserError:
        return
    if isinstance(old, int) and isinstance(number, float):
        return
    assert problems(schema, changed) == []
