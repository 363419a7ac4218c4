"""What every model of users' input is made of: closed and frozen, camelCase outside; and models made of messages.

Called by `syntrial.experiment.model` and its neighbours. A field whose description names no default gets it from the
schema (`syntrial.cluster.crd.definition`), so that a default is written once.
"""

import re
from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal

from google.protobuf.descriptor import EnumDescriptor, FieldDescriptor
from google.protobuf.message import Message
from pydantic import BaseModel, ConfigDict, Field, create_model
from pydantic.alias_generators import to_camel
from pydantic_core import PydanticCustomError

NAME_PATTERN: Final = r"^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$"
Name = Annotated[
    str, Field(pattern=NAME_PATTERN, max_length=63, description="Lower-case letters, digits and '-', at most 63.")
]
Seed = Annotated[int, Field(ge=0, lt=2**53)]


class Model(BaseModel):
    """Closed, frozen, camelCase outside."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, alias_generator=to_camel, populate_by_name=True, allow_inf_nan=False, strict=False
    )


def wrong(field: str, rule: str, received: object, remedy: str) -> PydanticCustomError:
    """A complaint about a field below the model that checks it, worded in full."""
    context = {"field": field, "received": repr(received), "remedy": remedy}
    return PydanticCustomError("syntrial", rule.replace("{", "{{").replace("}", "}}"), context)


def words_of(enum: EnumDescriptor) -> dict[str, str]:
    """The words that users write for the values of a proto's enum: "balanced-accuracy" for METRIC_BALANCED_ACCURACY."""
    prefix = re.sub(r"(?<!^)(?=[A-Z])", "_", enum.name).upper() + "_"
    names = [value.name for value in enum.values if value.number]
    return {name.removeprefix(prefix).lower().replace("_", "-"): name for name in names}


def word_of(enum: EnumDescriptor, number: int) -> str:
    """The word for a value of a proto's enum; raises KeyError for one that users cannot write (UNSPECIFIED)."""
    return {name: word for word, name in words_of(enum).items()}[enum.values_by_number[number].name]


def overrides(message: type[Message], **bounds: Mapping[str, float]) -> type[Model]:
    """A model whose optional fields are those of the message: what a preset sets, a user may set otherwise.

    Its fields are described by the comments of the proto, which the schema finds by the full name in `x-proto`. Numbers
    are at least 0; `bounds` gives fields others (gt, ge, lt, le), those of the stage that is asked.
    """
    fields: dict[str, Any] = {
        field.name: (
            _python_type(field, bounds.get(field.name, {})) | None,
            Field(None, json_schema_extra={"x-proto": field.full_name}),
        )
        for field in message.DESCRIPTOR.fields
    }
    return create_model(message.DESCRIPTOR.name, __base__=Model, **fields)


def _python_type(field: Any, bounds: Mapping[str, float]) -> Any:
    if field.type == FieldDescriptor.TYPE_ENUM:
        return Literal[tuple(words_of(field.enum_type))]
    scalar: Any = {
        FieldDescriptor.CPPTYPE_BOOL: bool,
        FieldDescriptor.CPPTYPE_DOUBLE: _bounded(float, {"ge": 0, **bounds}),
        FieldDescriptor.CPPTYPE_UINT32: _bounded(int, {"ge": 0, "lt": 2**32, **bounds}),
        FieldDescriptor.CPPTYPE_UINT64: Annotated[int, Field(ge=0, lt=2**53)],
    }[field.cpp_type]
    if field.name == "p_mean":
        scalar = float
    return tuple[scalar, ...] if field.is_repeated else scalar


def _bounded(kind: type, bounds: Mapping[str, Any]) -> Any:
    return Annotated[kind, Field(**bounds)]
