"""`projection.json`: how real, accepted and rejected images were drawn in two dimensions by their features."""

from dataclasses import dataclass
from typing import Annotated, Final, Literal

from pydantic import Field

from syntrial.documents.document import DOCUMENT

KINDS: Final = ("real", "accepted", "rejected")
"""What `kinds.npy` counts: the training split's images, and those of the set that the filters took or did not."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Projection:
    """Of one synthetic set, beside the training split."""

    __pydantic_config__ = DOCUMENT

    version: Annotated[Literal[1], Field(alias="schema")]
    method: Literal["umap"]
    neighbours: int
    min_dist: float
    shown: dict[str, int]
    """Images of each kind that were drawn."""
    of: dict[str, int]
    """Images of each kind that there are."""
