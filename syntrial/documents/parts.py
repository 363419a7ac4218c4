"""`model.json`: the parts of a network that may be trained by themselves, as a classifier's `stages` name them."""

from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import Field

from syntrial.documents.document import DOCUMENT


@dataclass(frozen=True, kw_only=True, slots=True)
class Part:
    """A part with weights."""

    name: str
    """From the network down, with points: layer4, layer4.0."""
    kind: str
    """What it is made as: Conv2d, Sequential, Bottleneck."""
    weights: int
    """Numbers that are trained, those of its own parts too."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelParts:
    """A network."""

    __pydantic_config__ = DOCUMENT

    version: Annotated[Literal[1], Field(alias="schema")]
    model: str
    small_stem: bool
    """Whether its first layer is the one for small images."""
    weights: int
    head: tuple[str, ...]
    """What `head` stands for: the layers that turn features into classes."""
    parts: tuple[Part, ...]
    """In the network's order, a part before those that it is made of."""
