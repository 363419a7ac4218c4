"""From a picture of any size to the trial's form: a square, one colour mode, one antialiased reduction.

The kernel widens with the reduction, as Pillow's does (unlike the defaults of OpenCV and torch), so no detail is folded
into false patterns. A picture that has the size already is left as it is, byte for byte.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from syntrial.v1.data_preparation_pb2 import ImageFormat
from syntrial_data_prep.weights import axis, weighted

METHODS: dict[int, Image.Resampling] = {
    ImageFormat.RESIZE_UNSPECIFIED: Image.Resampling.BICUBIC,
    ImageFormat.RESIZE_BICUBIC: Image.Resampling.BICUBIC,
    ImageFormat.RESIZE_BILINEAR: Image.Resampling.BILINEAR,
    ImageFormat.RESIZE_LANCZOS: Image.Resampling.LANCZOS,
    ImageFormat.RESIZE_BOX: Image.Resampling.BOX,
    ImageFormat.RESIZE_NEAREST: Image.Resampling.NEAREST,
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Form:
    """What pictures become."""

    size: int
    """Side in pixels."""
    channels: int
    """1 or 3."""
    method: Image.Resampling = Image.Resampling.BICUBIC
    framing: int = ImageFormat.FRAMING_CROP
    """An `ImageFormat.Framing`; unspecified is crop, as MedMNIST does: stretching would change what shapes mean."""

    @property
    def is_cropped(self) -> bool:
        """Whether images that are not square lose their margins."""
        return self.framing in {ImageFormat.FRAMING_UNSPECIFIED, ImageFormat.FRAMING_CROP}

    @classmethod
    def of(cls, image_format: ImageFormat, *, size: int, channels: int) -> "Form":
        """As a request asks for it."""
        return cls(size=size, channels=channels, method=METHODS[image_format.resize], framing=image_format.framing)


def fit(picture: NDArray[np.uint8], form: Form) -> NDArray[np.uint8]:
    """uint8 (H, W) or (H, W, 3) to (size, size, channels): colour to grey by ITU-R 601 luma, grey thrice to colour."""
    size, channels = form.size, form.channels
    height, width = picture.shape[:2]
    if channels == 1 and picture.ndim == 3:
        picture = np.asarray(Image.fromarray(picture).convert("L"))
    if (height, width) != (size, size):
        picture = _resized(picture, form)
    if picture.ndim == 2:
        picture = picture[:, :, None]
    return np.repeat(picture, channels, axis=2) if picture.shape[2] < channels else picture


def _resized(picture: NDArray[np.uint8], form: Form) -> NDArray[np.uint8]:
    """(H, W) or (H, W, C) to (size, size) or (size, size, C)."""
    height, width = picture.shape[:2]
    size = form.size
    if form.framing == ImageFormat.FRAMING_STRETCH:
        return _sampled(picture, (0, 0, height, width), (size, size), form.method)
    if form.framing == ImageFormat.FRAMING_PAD:
        longest = max(width, height)
        inner = max(1, round(height * size / longest)), max(1, round(width * size / longest))
        whole = np.zeros((size, size, *picture.shape[2:]), np.uint8)
        top, left = ((size - side) // 2 for side in inner)
        whole[top : top + inner[0], left : left + inner[1]] = _sampled(
            picture, (0, 0, height, width), inner, form.method
        )
        return whole
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    return _sampled(picture, (top, left, top + side, left + side), (size, size), form.method)


def _sampled(
    picture: NDArray[np.uint8], box: tuple[int, int, int, int], shape: tuple[int, int], method: Image.Resampling
) -> NDArray[np.uint8]:
    """The part of a picture from its top, left to its bottom, right (`box`) as `shape` (height, width)."""
    top, left, bottom, right = box
    if method == Image.Resampling.NEAREST:
        image = Image.fromarray(np.ascontiguousarray(picture))
        return np.asarray(image.resize(shape[::-1], method, box=(left, top, right, bottom)))
    across = axis(picture.shape[1], left, right, shape[1], method)
    down = axis(picture.shape[0], top, bottom, shape[0], method)
    if picture.ndim == 2:
        return weighted(picture, down, across)
    return np.stack([weighted(picture[:, :, channel], down, across) for channel in range(picture.shape[2])], axis=2)
