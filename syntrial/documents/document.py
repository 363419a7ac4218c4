"""How a document becomes JSON and JSON a document.

A document is a frozen dataclass whose fields are the JSON's. A field without a default is always written, as null where
it is None; a field with a default is left out where it holds that default. Names that Python forbids, and those that an
early release spelled otherwise, are aliases. Reading is strict: no field may be missing, unknown or of another type.
"""

from collections.abc import Mapping
from dataclasses import fields
from typing import Any, Final, TypeVar

from pydantic import ConfigDict, TypeAdapter, ValidationError

from syntrial.artifacts.manifest import reference
from syntrial.artifacts.members import ArtifactWriter, MemberReader
from syntrial.errors import VersionMismatch

DOCUMENT: Final = ConfigDict(extra="forbid", allow_inf_nan=False)
"""The rules of a document and of what stands in it: `__pydantic_config__` of the outermost dataclass."""

_T = TypeVar("_T")

_adapters: dict[object, TypeAdapter[Any]] = {}
"""By kind of document: made when it is first needed, which takes milliseconds."""


def as_json(document: object, /) -> dict[str, Any]:
    """The document as a tree of dicts, sequences, strings, numbers, booleans and None.

    Raises PydanticSerializationError where a field holds a value of another type than it says.
    """
    tree: dict[str, Any] = _adapter(type(document)).dump_python(
        document, by_alias=True, exclude_defaults=True, warnings="error"
    )
    return tree


def write(output: ArtifactWriter, /, member: str, name: str, *, document: object) -> None:
    """Writes the document as the blob `name` of a member, in canonical JSON."""
    output.json(member, name, as_json(document))


def read(kind: type[_T], reader: MemberReader, name: str, /) -> _T:
    """The document of this kind in a blob; raises VersionMismatch where it is of another shape."""
    return parse(kind, reader.read(name), place=f"{reference(reader.key, reader.name)}, {name}")


def parse(kind: type[_T], data: bytes, /, *, place: str) -> _T:
    """The document of this kind in a JSON text; raises VersionMismatch, which names `place` and the first field."""
    try:
        document: _T = _adapter(kind).validate_json(data, strict=True)
    except ValidationError as error:
        raise VersionMismatch(f"{place} is not a document that this release knows: {_first(error)}") from error
    return document


def of_tree(kind: type[_T], tree: Mapping[str, Any], /, *, place: str) -> _T:
    """As `parse`, of a tree that was read already."""
    try:
        document: _T = _adapter(kind).validate_python(tree)
    except ValidationError as error:
        raise VersionMismatch(f"{place} is not a document that this release knows: {_first(error)}") from error
    return document


def extended(kind: type[_T], document: object, /, **more: Any) -> _T:
    """The fields of `document` and `more` as a document of `kind`, which extends the former's."""
    return kind(**{field.name: getattr(document, field.name) for field in fields(document)}, **more)  # type: ignore[arg-type]


def _adapter(kind: type[_T]) -> TypeAdapter[_T]:
    if kind not in _adapters:
        _adapters[kind] = TypeAdapter(kind)
    return _adapters[kind]


def _first(error: ValidationError) -> str:
    found = error.errors(include_url=False)[0]
    return f"{'.'.join(map(str, found['loc'])) or 'the whole'}: {found['msg']}"
