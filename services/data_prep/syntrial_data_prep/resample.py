"""From a picture of any size to the trial's form: the central square, one colour mode, one antialiased reduction.

Pillow's resampling widens its support with the reduction (unlike the defaults of OpenCV and torch), so no detail is
folded into false patterns. A picture that has the size already is left as it is, byte for byte.
"""

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
}


def fit(picture: NDArray[np.uint8], *, size: int, channels: int, method: Image.Resampling) -> NDArray[np.uint8]:
    """uint8 (H, W) or (H, W, 3) to (size, size, channels); colour to grey by ITU-R 601-2 luma, grey to colour thrice.

    The central square is kept, as MedMNIST does: stretching would change what shapes mean.
    """
    height, width = picture.shape[:2]
    if channels == 1 and picture.ndim == 3:
        picture = np.asarray(Image.fromarray(picture).convert("L"))
    if (height, width) != (size, size):
        side = min(height, width)
        left, top = (width - side) // 2, (height - side) // 2
        image = Image.fromarray(np.ascontiguousarray(picture))
        # `box` resamples from the square alone; no reducing gap, which would trade accuracy for speed.
        picture = np.asarray(image.resize((size, size), method, box=(left, top, left + side, top + side)))
    if picture.ndim == 2:
        picture = picture[:, :, None]
    return np.repeat(picture, channels, axis=2) if picture.shape[2] < channels else picture
