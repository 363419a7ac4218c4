"""What every model of users' input is made of: closed and frozen, camelCase outside; and models made of messages.

Called by `syntrial.experiment.model` and its neighbours. A field whose description names no default gets it from the
schema (`syntrial.cluster.crd.definition`), so that a default is written once.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Final, Literal, Self, TypeVar

from google.protobuf.descriptor import EnumDescriptor, FieldDescriptor
from google.protobuf.message import Message
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, create_model, model_validator
from pydantic.alias_generators import to_camel
from pydantic_core import PydanticCustomError

from syntrial.errors import listed
from syntrial.imagesets.patterns import PatternError, compile_pattern

NAME_PATTERN: Final = r"^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$"
Name = Annotated[
    str, Field(pattern=NAME_PATTERN, max_length=63, description="Lower-case letters, digits and '-', at most 63.")
]
Seed = Annotated[int, Field(ge=0, lt=2**53)]

_Item = TypeVar("_Item")
OneOrSeveral = Annotated[
    tuple[_Item, ...],
    BeforeValidator(lambda value: (value,) if isinstance(value, str) else value),
    Field(min_length=1, max_length=1000, json_schema_extra={"x-one-or-several": True}),
]
"""A list that may be written as its one item."""


def _one_group(pattern: str) -> str:
    try:
        groups = compile_pattern(pattern).groups
    except PatternError as error:
        raise ValueError(f"`patientPattern` is not a regular expression: {error}") from None
    if groups != 1:
        raise ValueError(f"`patientPattern` needs exactly one group (...), received {groups}")
    return pattern


PatientPattern = Annotated[str, Field(max_length=1024), AfterValidator(_one_group)]
"""A regular expression with one group, which is the patient; see `syntrial.imagesets.patterns`."""

ADDRESS: Final = "folder"
"""Where a kind of source that is a mapping has its address."""


class Model(BaseModel):
    """Closed, frozen, camelCase outside."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, alias_generator=to_camel, populate_by_name=True, allow_inf_nan=False, strict=False
    )


def wrong(field: str, rule: str, received: object, remedy: str, *, words: str = "") -> PydanticCustomError:
    """A complaint worded in full about a field below the model that checks it, or about the model where it is "".

    `words` is what is shown as received, by default the value as it is written in Python.
    """
    context = {"field": field, "received": words or repr(received), "remedy": remedy}
    return PydanticCustomError("syntrial", rule.replace("{", "{{").replace("}", "}}"), context)


@dataclass(frozen=True, kw_only=True, slots=True)
class Option:
    """A field that may stand beside some kinds of a `OneOf` only."""

    of: tuple[str, ...]
    """The kinds."""
    rule: str
    """What is said where it stands beside another."""
    prefix: str = ""
    """With what the kind's value must begin."""


class OneOf(Model):
    """A model of which exactly one of `KINDS` is given, with the `OPTIONS` that belong to it.

    One declaration, three uses: `kind` says which it is; the validator refuses none and several; and
    `syntrial.cluster.crd.rules` makes the API server's rules of it. A null counts as not given. `{kinds}` in the
    docstring of a subclass stands for their names.
    """

    KINDS: ClassVar[tuple[str, ...]] = ()
    OPTIONS: ClassVar[Mapping[str, Option]] = {}

    @classmethod
    def __pydantic_init_subclass__(cls, **_: Any) -> None:
        if cls.KINDS and cls.__doc__:
            cls.__doc__ = cls.__doc__.replace("{kinds}", listed(map(to_camel, cls.KINDS), last="and"))

    @classmethod
    def rule(cls) -> str:
        """What must hold of the kinds, in words."""
        return f"needs exactly one of {listed(map(to_camel, cls.KINDS), last='and')}"

    @model_validator(mode="after")
    def _exactly_one(self) -> Self:
        given = [to_camel(name) for name in self.KINDS if getattr(self, name) is not None]
        if len(given) != 1:
            raise wrong("", self.rule(), given, "Give one of them.", words=", ".join(given) or "none of them")
        for name, option in self.OPTIONS.items():
            if getattr(self, name) is not None and not (
                self.kind in option.of and (not option.prefix or self.place.startswith(option.prefix))
            ):
                raise wrong("", option.rule, name, "Leave it out.", words=f"it beside {to_camel(self.kind)}")
        return self

    @property
    def kind(self) -> str:
        """The name of the one that is given."""
        (name,) = (name for name in self.KINDS if getattr(self, name) is not None)
        return name

    @property
    def chosen(self) -> Any:
        """The one that is given."""
        return getattr(self, self.kind)

    @property
    def place(self) -> str:
        """What an option's prefix is that of: the address in a kind that is a mapping with one, else its value."""
        chosen = self.chosen
        return str(getattr(chosen, ADDRESS) if isinstance(chosen, Model) and hasattr(chosen, ADDRESS) else chosen)


def one_of(kinds: Mapping[str, type[Model]]) -> Any:
    """The base of a `OneOf` that has a field for each row of a table, of the model given there."""
    fields: dict[str, Any] = {name: (model | None, None) for name, model in kinds.items()}
    base = create_model("OneOf", __base__=OneOf, **fields)
    base.KINDS = tuple(kinds)
    return base


def words_of(enum: EnumDescriptor) -> dict[str, str]:
    """The words that users write for the values of a proto's enum: "balanced-accuracy" for METRIC_BALANCED_ACCURACY."""
    prefix = re.sub(r"(?<!^)(?=[A-Z])", "_", enum.name).upper() + "_"
    names = [value.name for value in enum.values if value.number]
    return {name.removeprefix(prefix).lower().replace("_", "-"): name for name in names}


def word_of(enum: EnumDescriptor, number: int) -> str:
    """The word for a value of a proto's enum; raises KeyError for one that users cannot write (UNSPECIFIED)."""
    return {name: word for word, name in words_of(enum).items()}[enum.values_by_number[number].name]


def overrides(message: type[Message], **bounds: Mapping[str, float | None]) -> type[Model]:
    """A model whose optional fields are those of the message: what a preset sets, a user may set otherwise.

    Its fields are described by the comments of the proto, which the schema finds by the full name in `x-proto`. Numbers
    are at least 0; `bounds` gives fields others (gt, ge, lt, le; `ge` None: none), those of the stage that is asked.
    """
    fields: dict[str, Any] = {
        field.name: (
            _python_type(field, bounds.get(field.name, {})) | None,
            Field(None, json_schema_extra={"x-proto": field.full_name}),
        )
        for field in message.DESCRIPTOR.fields
    }
    return create_model(message.DESCRIPTOR.name, __base__=Model, **fields)


def _python_type(field: Any, bounds: Mapping[str, float | None]) -> Any:
    if field.type == FieldDescriptor.TYPE_ENUM:
        return Literal[tuple(words_of(field.enum_type))]
    scalar: Any = {
        FieldDescriptor.CPPTYPE_BOOL: bool,
        FieldDescriptor.CPPTYPE_DOUBLE: _bounded(float, {"ge": 0, **bounds}),
        FieldDescriptor.CPPTYPE_UINT32: _bounded(int, {"ge": 0, "lt": 2**32, **bounds}),
        FieldDescriptor.CPPTYPE_UINT64: Annotated[int, Field(ge=0, lt=2**53)],
    }[field.cpp_type]
    return tuple[scalar, ...] if field.is_repeated else scalar


def _bounded(kind: type, bounds: Mapping[str, Any]) -> Any:
    return Annotated[kind, Field(**bounds)]
