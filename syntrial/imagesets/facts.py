"""What a picture's file says of itself besides its pixels: form, size and compression, which can betray its label.

Read from headers alone, by plans and by data preparation; the audit tests each against class, split and origin.
"""

from dataclasses import dataclass
from typing import Final

from PIL import Image

_DEPTHS: Final = {"1": 1, "I": 32, "F": 32}
"""Bits a channel by Pillow's mode, where not 8; modes that begin with "I;16" have 16."""


@dataclass(frozen=True, kw_only=True, slots=True)
class FileFacts:
    """One picture's file."""

    format: str
    """Pillow's name, for example "PNG"; "DICOM"."""
    mode: str
    """Pillow's mode or the photometric interpretation: channels and their meaning."""
    depth: int
    """Bits a channel, as far as the header tells."""
    width: int
    height: int
    """In pixels, as stored."""
    bytes: int
    """Length of the file."""
    frames: int
    """Pages or frames."""
    coarseness: float | None = None
    """Mean of the luminance quantisation table, of JPEG alone: its quality setting."""


def facts_of(picture: Image.Image, *, length: int) -> FileFacts:
    """The facts of an opened picture whose file has `length` bytes. Raises what Pillow raises for a damaged one."""
    tables = getattr(picture, "quantization", None)
    table = next(iter(tables.values()), None) if isinstance(tables, dict) else None
    return FileFacts(
        format=picture.format or "",
        mode=picture.mode,
        depth=16 if picture.mode.startswith("I;16") else _DEPTHS.get(picture.mode, 8),
        width=picture.width,
        height=picture.height,
        bytes=length,
        frames=int(getattr(picture, "n_frames", 1)),
        coarseness=sum(table) / len(table) if table else None,
    )


def text_of(facts: FileFacts) -> str:
    """The facts as a line of text: what an image set's origin "stored" holds."""
    coarseness = "" if facts.coarseness is None else f"{facts.coarseness:.3f}"
    parts = (facts.format, facts.mode, facts.depth, facts.width, facts.height, facts.bytes, facts.frames, coarseness)
    return ",".join(map(str, parts))


def of_text(text: str) -> FileFacts:
    """The facts that `text_of` wrote."""
    form, mode, depth, width, height, length, frames, coarseness = text.split(",")
    return FileFacts(
        format=form,
        mode=mode,
        depth=int(depth),
        width=int(width),
        height=int(height),
        bytes=int(length),
        frames=int(frames),
        coarseness=float(coarseness) if coarseness else None,
    )
