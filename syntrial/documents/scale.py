"""`scale.json`: which values of deep pixels became black and white when a data set was prepared.

Its ready-made synthetic images are scaled by it too: two scales would tell real from synthetic by brightness.
"""

from dataclasses import dataclass
from typing import Annotated, Final, Literal

from pydantic import Field

from syntrial.documents.document import DOCUMENT

MEMBER: Final = "scale"
NAME: Final = "scale.json"


@dataclass(frozen=True, kw_only=True, slots=True)
class Scale:
    """How values became grey levels from 0 to 255: linearly from `low` to `high`, clipped at both."""

    __pydantic_config__ = DOCUMENT

    version: Annotated[Literal[1], Field(alias="schema")] = 1
    by: Literal["depth", "bits", "unit", "window", "percentiles"] = "depth"
    """Depth: all pixels have 8 bits, or DICOM files their own windows. Bits: the smallest usual number of bits that
    holds the highest value. Unit: floating point from 0 to 1. Window and percentiles: as the experiment says."""
    low: float = 0.0
    high: float = 255.0
    opaque: float = 255.0
    """The value of a deep alpha channel that is opaque."""
    is_floating: bool = False
    """Whether it was found from pixels in floating point."""
