"""What a family of generators is: the functions that its own file brings, and that `registry` lists by its name.

Called by the verbs, which know no family by name.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from syntrial.imagesets.imageset import ImageSet
from syntrial.rpc.context import StepContext
from syntrial.v1.generation_pb2 import SampleImagesRequest, TrainGeneratorRequest
from syntrial_generation.checks import Checks
from syntrial_generation.curves import Curves
from syntrial_generation.data import Subject
from syntrial_generation.parts import WHOLE, Part


class Read(Protocol):
    """Opens what a family trains on beside the split; raises UserError where the request does not name it."""

    def __call__(self, request: TrainGeneratorRequest, images: ImageSet, context: StepContext, /) -> Any:
        """All that `Check` and `Train` are given, the split within."""
        ...


class Check(Protocol):
    """Raises UserError where a generator cannot be trained so on these images."""

    def __call__(self, config: Any, images: Any, /) -> None:
        """`config` is the family's message in `TrainGeneratorRequest`; `images` the split, or what `Read` gave."""
        ...


class Train(Protocol):
    """Trains on the split; exact when resumed from the context's checkpoint."""

    def __call__(
        self, images: Any, config: Any, /, *, seed: int, context: StepContext, part: Part = WHOLE
    ) -> tuple[dict[str, bytes], dict[str, Any], Curves]:
        """Files by name, weights.safetensors among them; what sampling needs beside that (JSON); and the curves."""
        ...


class Sampling(Protocol):
    """A trained generator of any family."""

    def images(self, labels_NK: NDArray[np.float32], *, seed: int, label: int, indices: range) -> NDArray[np.uint8]:
        """uint8 N×H×W×C: synthetic images `indices` of class `label`, of which `labels_NK` are the label vectors."""
        ...


class OpenGenerator(Protocol):
    """Makes what `Train` wrote ready to sample."""

    def __call__(self, weights: bytes, settings: dict[str, Any], /, *, subject: Subject, sampler: Any) -> Sampling:
        """`sampler` is the family's message in `SampleImagesRequest`, or None where it has none."""
        ...


class Guide(Protocol):
    """Opens what guides a family's sampling; raises UserError where that is missing, or does not fit."""

    def __call__(self, sampling: Any, request: SampleImagesRequest, context: StepContext, /) -> None:
        """`sampling` is what `OpenGenerator` made, and takes what is opened."""
        ...


@dataclass(frozen=True, kw_only=True, slots=True)
class Family:
    """One family of generators."""

    check: Check
    train: Train
    open: OpenGenerator
    check_sampler: Callable[[Checks, Any], None] | None = None
    """Notes what is wrong with the family's sampler; None: the family has no sampler."""
    read: Read | None = None
    """None: the family trains on the split alone."""
    beside: tuple[str, ...] = ()
    """Files beside the weights, which only a further training reads, and which older generators have not."""
    guide: Guide | None = None
    """None: nothing beside the generator guides its sampling."""
