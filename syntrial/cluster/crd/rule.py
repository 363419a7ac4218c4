"""A rule of x-kubernetes-validations, and those that follow from a model alone: one of its kinds, with its options."""

from dataclasses import dataclass
from typing import Any, get_args

from pydantic import BaseModel
from pydantic.alias_generators import to_camel

from syntrial.experiment.base import ADDRESS, OneOf, Option


@dataclass(frozen=True, kw_only=True, slots=True)
class Rule:
    """A rule of x-kubernetes-validations."""

    rule: str
    """In CEL; `self` is the object of the model."""
    message: str
    """What must hold, in the words of the laptop."""
    field: str = ""
    """The field below that the message is about, for example `.endpoint.primary.arm`."""
    with_received: str = ""
    """CEL whose value is the message in full, where it names what was received; `message` is what stays the same."""

    def tree(self) -> dict[str, Any]:
        """As it stands in the schema."""
        tree: dict[str, Any] = {"rule": " ".join(self.rule.split()), "message": self.message}
        if self.with_received:
            tree["messageExpression"] = " ".join(self.with_received.split())
        if self.field:
            tree["fieldPath"] = self.field
        return tree


def one_of_rules(model: type[OneOf]) -> tuple[Rule, ...]:
    """What the model's own validator says, of its kinds and of the options that belong to some of them."""
    names = [to_camel(name) for name in model.KINDS]
    given = " + ".join(f"(has(self.{name}) ? '{name} ' : '')" for name in names)
    return (
        Rule(
            rule=" + ".join(f"(has(self.{name}) ? 1 : 0)" for name in names) + " == 1",
            message=model.rule(),
            with_received=f"'{model.rule()}; received ' + ({given})",
        ),
        *(
            Rule(rule=f"!has(self.{to_camel(name)}) || {_beside(option, model)}", message=option.rule)
            for name, option in model.OPTIONS.items()
        ),
    )


def _beside(option: Option, model: type[OneOf]) -> str:
    if not option.prefix:
        return " || ".join(f"has(self.{to_camel(name)})" for name in option.of)
    return " || ".join(
        f"(has({place}) && {place}.startsWith('{option.prefix}'))"
        for name in option.of
        for place in [f"self.{to_camel(name)}" + (f".{ADDRESS}" if _is_mapping(model, name) else "")]
    )


def _is_mapping(model: type[OneOf], name: str) -> bool:
    """Whether a kind is an object, of which one field is the address."""
    return bool(models_of(model, name))


def models_of(model: type[OneOf], name: str) -> list[type[BaseModel]]:
    """The models that a kind may be."""
    kinds = get_args(model.model_fields[name].annotation)
    return [kind for kind in kinds if isinstance(kind, type) and issubclass(kind, BaseModel)]
