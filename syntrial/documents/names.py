"""`names.json`: which file and which patient of the source each pseudonym stands for.

The one member that holds names. No stage reads it, no report and no export has it: only `syntrial names`.
"""

from dataclasses import dataclass
from typing import Annotated, Final, Literal

from pydantic import Field

from syntrial.documents.document import DOCUMENT

MEMBER: Final = "names"


@dataclass(frozen=True, kw_only=True, slots=True)
class Names:
    """Of a source with names: a folder, or an .npz with patients."""

    __pydantic_config__ = DOCUMENT

    version: Annotated[Literal[1], Field(alias="schema")]
    secret: str
    """The key of the hashes, in hexadecimal."""
    files: dict[str, str]
    """Names by pseudonym, such as "train/cat/17-1f3a09bc"."""
    patients: dict[str, str]
