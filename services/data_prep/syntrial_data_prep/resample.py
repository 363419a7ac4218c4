"""From a picture of any size to the trial's form: a square, one colour mode, one antialiased reduction.

Pillow's resampling widens its support with the reduction (unlike the defaults of OpenCV and torch), so no detail is
folded into false patterns. A picture that has the size already is left as it is, byte for byte.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from syntrial.v1.data_preparation_pb2 import ImageFormat

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
        picture = _resized(Image.fromarray(np.ascontiguousarray(picture)), form)
    if picture.ndim == 2:
        picture = picture[:, :, None]
    return np.repeat(picture, channels, axis=2) if picture.shape[2] < channels else picture


def _resized(image: Image.Image, form: Form) -> NDArray[np.uint8]:
    """No reducing gap, which would trade accuracy for speed."""
    width, height = image.size
    size = form.size
    if form.framing == ImageFormat.FRAMING_STRETCH:
        return np.asarray(image.resize((size, size), form.method))
    if form.framing == ImageFormat.FRAMING_PAD:
        longest = max(width, height)
        inner = max(1, round(width * size / longest)), max(1, round(height * size / longest))
        whole = Image.new(image.mode, (size, size))
        whole.paste(image.resize(inner, form.method), ((size - inner[0]) // 2, (size - inner[1]) // 2))
        return np.asarray(whole)
    side = min(height, width)
    left, top = (width - side) // 2, (height - side) // 2
    # `box` resamples from the square alone.
    return np.asarray(image.resize((size, size), form.method, box=(left, top, left + side, top + side)))
