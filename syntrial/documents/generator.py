"""`generator.json`: what a trained generator is. Its folder may be a stranger's, so all that is used of it is checked.

Read by the command line, which plans with it, and by the generation stage, which takes the generator in.
"""

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Annotated, Any, Final, Literal, Self

from pydantic import AfterValidator, ConfigDict, Field, TypeAdapter, ValidationError, model_validator
from pydantic.dataclasses import dataclass as checked_dataclass

from syntrial.errors import UserError

NAME: Final = "generator.json"
WEIGHTS: Final = "weights.safetensors"
"""What stands beside it, of a generator that is no code."""
OWN: Final = "external"
"""The family of generators of users' own: their settings name files."""

_RULES: Final = ConfigDict(allow_inf_nan=False)
_Side = Annotated[int, Field(ge=1, le=1024)]
_Channels = Annotated[int, AfterValidator(lambda count: _one_of(count, (1, 3)))]


@dataclass(frozen=True, kw_only=True, slots=True)
class SubjectDescription:
    """What a generator makes."""

    __pydantic_config__ = _RULES

    classes: Annotated[tuple[str, ...], Field(min_length=1)]
    task: Literal["multi-class", "multi-label"]
    shape: tuple[_Side, _Side, _Channels]
    """Height, width and channels of its images."""


@checked_dataclass(frozen=True, kw_only=True, slots=True, config=_RULES)
class GeneratorDescription:
    """A trained generator, beside its weights."""

    family: str
    subject: SubjectDescription
    settings: dict[str, Any]
    """In the family's own terms."""

    @model_validator(mode="after")
    def _sound(self) -> Self:
        if len(set(self.subject.classes)) != len(self.subject.classes):
            raise ValueError("each class has a name of its own")
        if self.family == OWN:
            for blob, name in _FILES.validate_python(self.settings.get("files"), strict=True).items():
                if not _is_blob(blob) or not _is_inside(name):
                    raise ValueError(f"a file is called by a name within the folder, and not {blob!r}, {name!r}"[:300])
        return self

    @property
    def files(self) -> dict[str, str]:
        """Of a generator of a user's own: the names of its files in their folder, by those that they have here."""
        return dict(self.settings["files"]) if self.family == OWN else {}


def read_description(data: bytes, /, *, title: str, families: Collection[str]) -> GeneratorDescription:
    """What generator.json says; raises UserError, about `title`, where that is no generator of these families."""
    try:
        found = _DESCRIPTION.validate_json(data, strict=True)
        if found.family not in families:
            raise ValueError(f"family: {found.family[:100]!r}")
    except ValueError as error:
        first = error.errors(include_url=False)[0] if isinstance(error, ValidationError) else None
        words = f"{'.'.join(map(str, first['loc'])) or 'the whole'}: {first['msg']}" if first else str(error)
        raise UserError(
            field=title,
            rule=f"describes a generator: family ({', '.join(families)}), subject and settings",
            received=words[:300],
            remedy="Give a folder that `syntrial export --include generators` wrote.",
        ) from None
    return found


def _one_of(count: int, known: tuple[int, ...]) -> int:
    if count not in known:
        raise ValueError(f"images have {' or '.join(map(str, known))} channels")
    return count


def _is_blob(name: str) -> bool:
    return name not in {"", ".", "..", NAME} and not {"/", "\\", "\0"}.intersection(name)


def _is_inside(name: str) -> bool:
    path = PurePosixPath(name)
    return bool(path.parts) and not path.is_absolute() and ".." not in path.parts and "\0" not in name


_FILES: Final = TypeAdapter(dict[str, str])
_DESCRIPTION: Final = TypeAdapter(GeneratorDescription)
