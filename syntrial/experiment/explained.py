"""What each field of a generator means, what its presets have, and what it takes: for people who tune one."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib import resources
from typing import Any, Final

from pydantic import TypeAdapter
from pydantic.alias_generators import to_camel

from syntrial.errors import UserError, listed
from syntrial.experiment.base import words_of
from syntrial.experiment.presets.generators import FAMILIES, config_message, sampler_message
from syntrial.experiment.synthetic import Generator

_ENDS: Final = {"minimum": "at least", "exclusiveMinimum": "above", "maximum": "at most", "exclusiveMaximum": "under"}


@dataclass(frozen=True, kw_only=True, slots=True)
class Explained:
    """A field, as `tune.over` names it."""

    field: str
    meaning: str
    presets: Mapping[str, Any]
    """Its value in each preset; empty where presets say nothing of it."""
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
    kind = {"integer": "whole numbers", "number": "numbers", "boolean": "true, false"}[branch["type"]]
    # A bound of the wire's, 2^32, is told to nobody.
    ends = [f"{words} {branch[end]:g}" for end, words in _ENDS.items() if end in branch and branch[end] < 2**31]
    return f"{kind} {', '.join(ends)}".strip()


def _meanings() -> dict[str, str]:
    """The protos' comments by a field's full name, which `make crd` writes."""
    text = resources.files("syntrial.experiment.presets").joinpath("meanings.json").read_text(encoding="utf-8")
    found: dict[str, str] = json.loads(text)
    return found
