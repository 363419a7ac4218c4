"""The weights of a perceptual term, LPIPS on VGG-16 (Zhang et al. 2018): their names and shapes in a safetensors file.

Called by sources, who look at a file's header before anything runs, and by the stage that uses the weights.
"""

from collections.abc import Mapping
from typing import Final

from syntrial.errors import UserError

BLOCKS: Final = ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512))
"""Channels of VGG-16's convolutions (Simonyan and Zisserman 2015, configuration D), in blocks with a pooling between
each two of them; LPIPS compares what each block gives."""

LEAST_SIDE: Final = 16
"""Pixels a side of which the four poolings leave one. Smaller images are refused, not enlarged: the linear layers were
fitted to what people say of patches at their own scale, and of enlarged pixels VGG-16 sees edges that are none."""

_LISTED: Final = 3


def _shapes() -> dict[str, tuple[int, ...]]:
    found: dict[str, tuple[int, ...]] = {}
    place, before = 0, 3
    for number, block in enumerate(BLOCKS):
        for channels in block:
            found[f"features.{place}.weight"] = (channels, before, 3, 3)
            found[f"features.{place}.bias"] = (channels,)
            # A convolution and its ReLU each have a place.
            place, before = place + 2, channels
        found[f"lin{number}.model.1.weight"] = (1, before, 1, 1)
        # The pooling's.
        place += 1
    return found


SHAPES: Final = _shapes()
"""Of all weights, by their names in torchvision's VGG-16 and in LPIPS."""


def check_side(side: int, *, field: str) -> None:
    """Raises UserError for images whose shorter side, in pixels, is below `LEAST_SIDE`."""
    if side < LEAST_SIDE:
        raise UserError(
            field=field,
            rule=f"is for images of {LEAST_SIDE} pixels a side or more, which VGG-16 halves four times",
            received=f"images of {side} pixels",
            remedy="Leave it out, or choose a larger `dataset.size`.",
        )


def check_shapes(shapes: Mapping[str, tuple[int, ...]], *, field: str) -> None:
    """Raises UserError where a weight is missing or has another shape; further ones may be there."""
    missing = [name for name in SHAPES if name not in shapes]
    others = [
        f"{name} {_words(shapes[name])} for {_words(shape)}"
        for name, shape in SHAPES.items()
        if name in shapes and shapes[name] != shape
    ]
    wrong = {"missing": missing, "of another shape": others}
    if any(wrong.values()):
        raise UserError(
            field=field,
            rule="the file has the weights of VGG-16 and of the linear layers of LPIPS, by their published names",
            received="; ".join(f"{len(names)} {what}: {_some(names)}" for what, names in wrong.items() if names),
            remedy="Make it by the command in docs/generators.md#a-perceptual-term.",
        )


def _words(shape: tuple[int, ...]) -> str:
    return "×".join(map(str, shape)) or "a number"


def _some(names: list[str]) -> str:
    return ", ".join(names[:_LISTED]) + (" …" if len(names) > _LISTED else "")
