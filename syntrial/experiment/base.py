"""What every model of users' input is made of: closed and frozen, camelCase outside; and models made of messages.

Called by `syntrial.experiment.model` and its neighbours. A field whose description names no default gets it from the
schema (`syntrial.cluster.crd.definition`), so that a default is written once.
"""

import re
from typing import Annotated, Any, Final, Literal

from google.protobuf.descriptor import FieldDescriptor
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


def overrides(message: type[Message]) -> type[Model]:
    """A model whose optional fields are those of the message: what a preset sets, a user may set otherwise.

    Its fields are described by the comments of the proto, which the schema finds by the full name in `x-proto`.
    """
    fields: dict[str, Any] = {
        field.name: (_python_type(field) | None, Field(None, json_schema_extra={"x-proto": field.full_name}))
        for field in message.DESCRIPTOR.fields
    }
    return create_model(message.DESCRIPTOR.name, __base__=Model, **fields)


def _python_type(field: Any) -> Any:
    if field.type == FieldDescriptor.TYPE_ENUM:
        prefix = re.sub(r"(?<!^)(?=[A-Z])", "_", field.enum_type.name).upper() + "_"
        names = [value.name.removeprefix(prefix).lower().replace("_", "-") for value in field.enum_type.values]
        return Literal[tuple(names[1:])]
    scalar: Any = {
        FieldDescriptor.CPPTYPE_BOOL: bool,
        FieldDescriptor.CPPTYPE_DOUBLE: Annotated[float, Field(ge=0)],
        FieldDescriptor.CPPTYPE_UINT32: Annotated[int, Field(ge=0, lt=2**32)],
        FieldDescriptor.CPPTYPE_UINT64: Annotated[int, Field(ge=0, lt=2**53)],
    }[field.cpp_type]
    if field.name == "p_mean":
        scalar = float
    return tuple[scalar, ...] if field.is_repeated else scalar
