"""Reads an Experiment from YAML, and words what is wrong with it for a person.

Every complaint names the field, the rule, the value received and what to do; a misspelt field is shown the nearest
right one. Called by the CLI; the controller validates objects that the API server hands it through `validate`.
"""

import datetime
import types
import typing
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import yaml
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails
from rapidfuzz import process

from syntrial.errors import SourceError, UserError, Violation
from syntrial.experiment.base import NAME_PATTERN
from syntrial.experiment.model import API_VERSION, Experiment
from syntrial.experiment.trees import read_tree
from syntrial.imagesets.filetypes import HEAD_BYTES, TEXT, UNKNOWN, kind_of, kind_of_head

LIMIT_BYTES = 1 << 20
MOST_COMPLAINTS = 200
"""Of one file: whoever gives something else by mistake reads the first."""

_MAPPING = "an experiment is a mapping with apiVersion, kind, metadata and spec"


def read_experiment(path: Path) -> Experiment:
    """Reads and validates one Experiment from a YAML file.

    Raises SourceError where the file cannot be read or is not YAML, UserError where the experiment is against a rule.
    """
    try:
        if path.stat().st_size > LIMIT_BYTES:
            raise SourceError(
                field=str(path),
                rule="an experiment file has at most 1 MiB",
                received=f"{path.stat().st_size} bytes",
                remedy="Give the path of the experiment, not of data.",
            )
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise SourceError(
            field=str(path),
            rule="the experiment file must be readable",
            received=error.strerror or str(error),
            remedy="Check the path.",
        ) from None
    except UnicodeDecodeError as error:
        kind = kind_of(path)
        raise SourceError(
            field=str(path),
            rule="an experiment is YAML in UTF-8",
            received=f"byte {error.start} is not UTF-8" if kind == UNKNOWN else kind.one,
            remedy="Save the file as UTF-8, or give the path of the experiment.",
        ) from None
    return parse_experiment(text, name=str(path))


def parse_experiment(text: str, *, name: str = "experiment") -> Experiment:
    """Parses and validates one Experiment; `name` is what messages call the text."""
    try:
        tree = read_tree(text, name=name)
    except SourceError:
        _refuse_other_files(text, name=name)
        raise
    if not isinstance(tree, Mapping):
        _refuse_other_files(text, name=name)
        raise SourceError(
            field=name,
            rule=_MAPPING,
            received=type(tree).__name__,
            remedy=f"Begin with `apiVersion: {API_VERSION}`.",
        )
    return validate(tree)


def _refuse_other_files(text: str, *, name: str) -> None:
    """Raises SourceError where the text is that of another kind of file, such as a web page."""
    kind = kind_of_head(text.encode()[:HEAD_BYTES])
    if kind not in (TEXT, UNKNOWN):
        raise SourceError(field=name, rule=_MAPPING, received=kind.one, remedy=kind.remedy)


def validate(tree: Mapping[object, object]) -> Experiment:
    """Validates an Experiment given as a tree of mappings; raises UserError with every violation found."""
    try:
        return Experiment.model_validate(tree)
    except ValidationError as error:
        details = _relevant(error.errors()[:MOST_COMPLAINTS])
        raise UserError(violations=[_violation(detail) for detail in details]) from None


def to_yaml(experiment: Experiment) -> str:
    """The experiment as YAML with its defaults left out; reads back as an equal experiment."""
    tree = experiment.model_dump(by_alias=True, exclude_defaults=True, exclude_none=True, mode="json")
    tree = {"apiVersion": experiment.api_version, "kind": experiment.kind} | tree
    text: str = yaml.safe_dump(tree, sort_keys=False, width=120, allow_unicode=True)
    return text


def _relevant(details: Iterable[ErrorDetails]) -> list[ErrorDetails]:
    """Drops what follows from another complaint: a list without its wrong entries is short, a union's other branches
    do not fit. The branch that got furthest speaks.
    """
    every = list(details)
    found = [
        d for d in every if d["type"] != "too_short" or not any(_is_below(other["loc"], d["loc"]) for other in every)
    ]
    unions = [d for d in found if any(part in ("str", "ArmSpec") for part in d["loc"])]
    if unions and any("ArmSpec" in d["loc"] and d["type"] != "model_type" for d in unions):
        return [d for d in found if "str" not in d["loc"]]
    return [d for d in found if "ArmSpec" not in d["loc"]]


def _is_below(inner: tuple[int | str, ...], outer: tuple[int | str, ...]) -> bool:
    return len(inner) > len(outer) and inner[: len(outer)] == outer


def _violation(detail: ErrorDetails) -> Violation:
    location = [part for part in detail["loc"] if part not in ("str", "ArmSpec")]
    kind = detail["type"]
    if kind == "string_type" and (reading := _reading(detail["input"])) is not None:
        return _unquoted(location, detail["input"], reading)
    field = _path(location)
    received = _shown(detail["input"])
    if kind == "extra_forbidden":
        valid = _fields_at(location[:-1])
        nearest = process.extractOne(str(location[-1]), valid, score_cutoff=50) if valid else None
        suggestion = f"Did you mean {nearest[0]!r}? " if nearest else ""
        return Violation(
            field=field,
            rule="there is no such field",
            received=received,
            remedy=f"{suggestion}Fields here: {', '.join(valid)}.",
        )
    if kind == "missing":
        return Violation(field=field, rule="the field is required", received="nothing", remedy="Add it.")
    rule = detail["msg"].removeprefix("Value error, ")
    if kind == "syntrial":
        context = detail["ctx"]
        below = f"{field}.{context['field']}" if context["field"] else field
        return Violation(field=below, rule=rule, received=context["received"], remedy=context["remedy"])
    return Violation(field=field, rule=rule, received=received, remedy=_remedy(detail, field))


def _reading(value: object) -> str | None:
    """What YAML takes a word without quotes for, where it is not text; None for lists and mappings."""
    match value:
        case bool():
            words = "yes, on and true" if value else "no, off and false"
            return f"a truth value: YAML reads {words} so, in any case"
        case int() | float():
            return "a number"
        case datetime.date():
            return "a date"
        case None:
            return "nothing: YAML reads null, ~ and an empty place so"
    return None


def _unquoted(location: Sequence[object], value: object, reading: str) -> Violation:
    """A word that is meant as text, and stands without quotes."""
    is_key = bool(location) and location[-1] == "[key]"
    example = ("yes" if value else "no") if isinstance(value, bool) else "null" if value is None else str(value)
    return Violation(
        field=_path(location[:-2] if is_key else location),
        rule="names are text, and a word that YAML reads otherwise stands in quotes",
        received=f"{'the key ' if is_key else ''}{value!r}, {reading}",
        remedy=f"Put it in quotes, for example '{example}'.",
    )


def _remedy(detail: ErrorDetails, field: str) -> str:
    kind = detail["type"]
    if kind.endswith(("_type", "_parsing")):
        return "Give a value of that type."
    if kind == "string_pattern_mismatch":
        if detail["ctx"]["pattern"] == NAME_PATTERN:
            return "Use lower-case letters, digits and '-', at most 63 characters."
        return "Write it as the pattern says."
    if kind == "value_error":
        return "Change it as the rule says."
    return f"Change {field.rpartition('.')[2] or field} as the rule says."


def _path(location: Iterable[object]) -> str:
    text = ""
    for part in location:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else str(part)
    return text or "experiment"


def _shown(value: object) -> str:
    text = repr(dict(value)) if isinstance(value, Mapping) else repr(value)
    return text if len(text) <= 120 else f"{text[:117]}..."


def _fields_at(location: Iterable[object]) -> list[str]:
    """The names that the model at this place of the tree knows, as users write them."""
    model: type[BaseModel] | None = Experiment
    for part in location:
        if isinstance(part, int):
            continue
        if model is None:
            return []
        match = next((f for name, f in model.model_fields.items() if part in (name, f.alias)), None)
        model = _model_in(match.annotation) if match else None
    return [field.alias or name for name, field in model.model_fields.items()] if model else []


def _model_in(annotation: object) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    if typing.get_origin(annotation) in (typing.Union, types.UnionType, tuple, typing.Annotated):
        for argument in typing.get_args(annotation):
            if (found := _model_in(argument)) is not None:
                return found
    return None
