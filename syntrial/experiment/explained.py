"""What each field of a generator or a classifier means, what its presets have, and what it takes."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib import resources
from typing import Any, Final

from pydantic import BaseModel, TypeAdapter
from pydantic.alias_generators import to_camel

from syntrial.errors import UserError, listed
from syntrial.experiment.base import words_of
from syntrial.experiment.classifiers import Budget, Classifier, Probe, Recipe, Stage
from syntrial.experiment.presets.classifiers import RECIPES, RecipePreset, recipe_family, recipe_preset
from syntrial.experiment.presets.generators import FAMILIES, config_message, sampler_message
from syntrial.experiment.synthetic import Generator
from syntrial.v1.classification_pb2 import TrainingRecipe

_ENDS: Final = {"minimum": "at least", "exclusiveMinimum": "above", "maximum": "at most", "exclusiveMaximum": "under"}


@dataclass(frozen=True, kw_only=True, slots=True)
class Explained:
    """A field, by the names that lead to it: of a generator, as `tune.over` has it."""

    field: str
    meaning: str
    presets: Mapping[str, Any]
    """Its value in each preset, or in the recipe of a model's family; empty where those say nothing of it."""
    takes: str
    """Its values, in words."""


def explained(name: str) -> Iterator[Explained]:
    """The fields of a family by its name in an experiment; raises UserError for one that there is not."""
    families = {to_camel(family): family for family in FAMILIES}
    if name not in families:
        raise UserError(
            field="GENERATOR",
            rule=f"is one of {listed(families, last='or')}",
            received=name,
            remedy="Name one. A generator of your own says in its own words what its `options` are.",
        )
    family = families[name]
    row = FAMILIES[family]
    model: Any = next(kind for kind in Generator.model_fields[family].annotation.__args__ if kind is not type(None))
    yield from _fields(config_message(family), model, row.presets, before="")
    sampler = sampler_message(family)
    if sampler is not None:
        kinds = model.model_fields["sampler"].annotation.__args__
        yield from _fields(sampler, kinds[0], row.samplers, before="sampler.")


def explained_classifier(model: str) -> Iterator[Explained]:
    """How a model of this name is trained: the fields below an item of `classifiers`, and the trial's `budget`."""
    family = recipe_family(model)
    recipe, row = recipe_preset(model), RECIPES[family]
    enums = {field.name: field.enum_type for field in TrainingRecipe.DESCRIPTOR.fields if field.enum_type is not None}
    given = {
        name: enums[name].values_by_number[value].name if name in enums else value
        for name in RecipePreset.__dataclass_fields__
        if name in TrainingRecipe.DESCRIPTOR.fields_by_name
        for value in [getattr(recipe, name)]
    }
    yield from _stated(
        Classifier, "learning_rate", "stem", before="", given={"learning_rate": {family: row.learning_rate}}
    )
    yield from _fields(TrainingRecipe, Recipe, {family: given}, before="recipe.")
    yield from _stated(Stage, *Stage.model_fields, before="stages[].")
    yield from _stated(Probe, *Probe.model_fields, before="probe.")
    yield from _stated(Budget, *Budget.KINDS, before="budget.", given={"steps": {family: row.steps}})


def _stated(
    model: type[BaseModel], *names: str, before: str, given: Mapping[str, Mapping[str, Any]] | None = None
) -> Iterator[Explained]:
    """Fields that a model describes itself; `given` are values by preset, else a default is told with the meaning."""
    for name in names:
        field = model.model_fields[name]
        presets = (given or {}).get(name, {})
        meaning = field.description or ""
        if field.default is not None and "Default:" not in meaning:
            words = field.default if isinstance(field.default, str) else json.dumps(field.default)
            meaning += f" Default: {words}."
        yield Explained(
            field=f"{before}{to_camel(name)}",
            meaning=meaning,
            presets=presets,
            takes=_takes(TypeAdapter(field.rebuild_annotation()).json_schema()),
        )


def _fields(message: Any, model: Any, presets: Mapping[str, Mapping[str, Any]], *, before: str) -> Iterator[Explained]:
    meanings = _meanings()
    for field in message.DESCRIPTOR.fields:
        given = {
            preset: _shown(field, numbers[field.name]) for preset, numbers in presets.items() if field.name in numbers
        }
        yield Explained(
            field=f"{before}{to_camel(field.name)}",
            meaning=meanings.get(field.full_name, ""),
            presets=given,
            takes=_takes(TypeAdapter(model.model_fields[field.name].rebuild_annotation()).json_schema()),
        )


def _shown(field: Any, value: Any) -> Any:
    """A value as users write it: an enum's word in place of its name."""
    if field.enum_type is None:
        return value
    return {name: word for word, name in words_of(field.enum_type).items()}.get(value, value)


def _takes(schema: Mapping[str, Any]) -> str:
    branches = [branch for branch in schema.get("anyOf", [schema]) if branch.get("type") != "null"]
    (branch,) = branches
    if "enum" in branch:
        return ", ".join(branch["enum"])
    if branch.get("type") == "array":
        return f"a list of {_takes(branch['items'])}"
    kind = {"integer": "whole numbers", "number": "numbers", "boolean": "true, false", "string": "text"}[branch["type"]]
    # A bound of the wire's, 2^32, is told to nobody.
    told = {end: branch[end] for end in _ENDS if branch.get(end, 2**31) < 2**31}
    if told.get("exclusiveMinimum", -1) >= told.get("minimum", 0):
        told.pop("minimum", None)
    ends = [f"{_ENDS[end]} {value:g}" for end, value in told.items()]
    return f"{kind} {', '.join(ends)}".strip()


def _meanings() -> dict[str, str]:
    """The protos' comments by a field's full name, which `make crd` writes."""
    text = resources.files("syntrial.experiment.presets").joinpath("meanings.json").read_text(encoding="utf-8")
    found: dict[str, str] = json.loads(text)
    return found
