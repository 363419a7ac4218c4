"""What the header of a picture file tells: its facts, channels, the kind of numbers its pixels are, and whose it is."""

from dataclasses import dataclass
from typing import Final

from syntrial.imagesets.facts import FileFacts

EIGHT: Final = "8-bit"
SIXTEEN: Final = "16-bit"
SIGNED: Final = "signed"
WIDE: Final = "32-bit"
FLOATING: Final = "floating-point"
WINDOWED: Final = "DICOM with a window of its own"


@dataclass(frozen=True, kw_only=True, slots=True)
class Header:
    """A picture file by its header."""

    facts: FileFacts
    """Format, mode and size as they are stored: a picture on its side has width and height the other way round. Modes
    are Pillow's; of a TIFF its interpretation, samples and type ("MinIsBlack;1×i16"), of DICOM its interpretation.
    Frames are pages too; smaller copies and masks of a TIFF's page do not count."""
    channels: int
    """1 for grey, 3 for colour."""
    numbers: str
    """What kind of numbers the pixels are: one of the above."""
    patient: str = ""
    """DICOM's patient identifier; empty where there is none. A name of a person: never written, but by pseudonym."""
    burnt_in: bool = False
    """Whether DICOM says, or its kind lets one expect, that text is burnt into the pixels."""
