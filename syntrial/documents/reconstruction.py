"""`reconstruction.json`: what an autoencoder loses of the images that it was trained on."""

from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import Field

from syntrial.documents.document import DOCUMENT


@dataclass(frozen=True, kw_only=True, slots=True)
class Loss:
    """What is lost, in pixels of 0 to 255."""

    l1: float
    """The mean absolute difference of a pixel."""
    psnr: float | None
    """The peak signal-to-noise ratio of all images' mean squared difference, in dB; None: there is none."""
    bytes: float
    """Mean size of an image."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Jpeg(Loss):
    """The same images as JPEG."""

    quality: int
    """The highest at which they are no larger than the latents, else the lowest there is."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Reconstruction:
    """An autoencoder's."""

    __pydantic_config__ = DOCUMENT

    version: Annotated[Literal[1], Field(alias="schema")]
    images: int
    """Training images that were looked at."""
    factor: int
    """How many times smaller the side of the latents is."""
    latents: Loss
    """By the mean latents of each image; their size is that of numbers of 16 bits."""
    jpeg: Jpeg
