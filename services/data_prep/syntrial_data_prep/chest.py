"""The chest phantom: a frontal radiograph drawn from smooth shapes, with opacities in the lungs of positive patients.

Called by `phantom`. Coordinates: u from -1 (image left) to 1, v from -1 (top) to 1; brightness from 0 (air) to 1.
Shapes are analytic with soft edges, so every size shows the same patient.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Planes = NDArray[np.floating]
"""(B, S, S), or (B, 1, 1) for one number an image."""

FIELD_MODES = 7
"""Cosine modes along each side of the smooth random field that stands for vessels and overlapping tissue."""
OPACITIES = 3
"""Most opacities in one image."""
PLAINEST = 0.42
"""Brightness of an opacity at difficulty 0, where the lungs have about 0.2 and the heart 0.7."""
HARDEST = 0.06
"""The same at difficulty 1."""
SHADOWS = 2
"""Soft shadows of normal anatomy (hilum, breast, scapula) that look like opacities, in either class."""


def paint(
    labels: NDArray[np.int64],
    *,
    anatomies: Sequence[np.random.Generator],
    streams: Sequence[np.random.Generator],
    size: int,
    difficulty: float,
) -> NDArray[np.uint8]:
    """Images as uint8 (B, size, size); one stream for the patient's anatomy and one for the image, each in order."""
    count = len(labels)
    # Every number that an image needs is drawn in one call a stream, so that the order of drawing is fixed.
    body = np.stack([stream.standard_normal(24, dtype=np.float32) for stream in anatomies])
    marks = np.stack([stream.standard_normal((FIELD_MODES, FIELD_MODES), dtype=np.float32) for stream in anatomies])
    shot = np.stack([stream.standard_normal(12, dtype=np.float32) for stream in streams])
    lesions = np.stack([stream.random((OPACITIES + SHADOWS, 8), dtype=np.float32) for stream in streams])
    grain = np.stack([stream.standard_normal((size, size), dtype=np.float32) for stream in streams])
    haze = np.stack([stream.standard_normal((FIELD_MODES, FIELD_MODES), dtype=np.float32) for stream in streams])

    u, v = _posed_grid(shot, size=size)
    lungs, image = _anatomy(u, v, body)
    field = _smooth_field(marks + 0.5 * haze, u, v)
    image += lungs * 0.035 * field
    extra = np.zeros_like(image)
    contrast = PLAINEST + (HARDEST - PLAINEST) * np.sqrt(difficulty)
    for number in range(OPACITIES):
        # Each further opacity is there in 60% of the positive images; the first in all of them.
        present = (labels == 1) & ((number == 0) | (lesions[:, number, 7] < 0.6))
        blob = _opacity(u, v, lesions[:, number], texture=field)
        extra += (contrast * present.astype(np.float32))[:, None, None] * blob
    for number in range(OPACITIES, OPACITIES + SHADOWS):
        extra += 0.10 * _shadow(u, v, lesions[:, number])
    image += lungs * extra
    # Exposure and the detector: gain, offset and quantum noise, which is less where more light came through.
    gain, offset = 1 + 0.08 * _each(shot, 6), 0.03 * _each(shot, 7)
    image = np.clip(image, 0, 1.1) * gain + offset
    image += grain * 0.022 * np.sqrt(0.4 + image.clip(0, 1))
    assert image.shape == (count, size, size)
    exposed: NDArray[np.uint8] = (image.clip(0, 1) * 255 + 0.5).astype(np.uint8)
    return exposed


def _each(draws: NDArray[np.float32], column: int) -> Planes:
    """One standard normal number an image, within two deviations, shaped to spread over its pixels."""
    return draws[:, column].clip(-2, 2)[:, None, None]


def _posed_grid(shot: NDArray[np.float32], *, size: int) -> tuple[Planes, Planes]:
    """The coordinates of each pixel in the patient's frame: a small shift, turn and zoom for each image."""
    ticks = ((np.arange(size, dtype=np.float32) + 0.5) / size) * 2 - 1
    x, y = ticks[None, None, :], ticks[None, :, None]
    angle, zoom = 0.035 * _each(shot, 0), 1 + 0.05 * _each(shot, 1)
    x, y = x - 0.05 * _each(shot, 2), y - 0.05 * _each(shot, 3)
    cos, sin = np.cos(angle), np.sin(angle)
    return (cos * x + sin * y) * zoom, (cos * y - sin * x) * zoom


def _edge(distance: Planes, softness: float) -> Planes:
    """1 well inside (distance > 0), 0 well outside."""
    inside: Planes = 0.5 * (1 + np.tanh(distance / softness))
    return inside


def _anatomy(u: Planes, v: Planes, body: NDArray[np.float32]) -> tuple[Planes, Planes]:
    """The lungs' mask (0 to 1) and the brightness of a normal chest, from 24 standard normal numbers a patient."""
    side = np.abs(u)
    # Trunk with shoulders, and the neck above.
    width = 0.90 + 0.04 * _each(body, 0)
    shoulder = 0.92 + 0.10 * np.minimum(side / 0.9, 1) ** 2
    trunk = _edge(width - side + 0.12 * _edge(v - 0.2, 0.5), 0.05) * _edge(v + shoulder, 0.05)
    neck = _edge(0.26 - side, 0.05) * _edge(-v - 0.6, 0.1)
    image = 0.05 + (0.50 + 0.05 * _each(body, 1)) * np.maximum(trunk, neck)

    # Lungs: an ellipse on each side, narrower at the apex, flat towards the mediastinum, cut off by the diaphragm.
    right, centre = (u < 0).astype(np.float32), 0.43 + 0.02 * _each(body, 2)
    half_width = 0.335 + 0.02 * _each(body, 3)
    half_height = 0.80 + 0.04 * _each(body, 4)
    top = -0.04 + 0.03 * _each(body, 5)
    inward = (side - centre) / (half_width * (0.80 + 0.25 * _edge(v + 0.25, 0.4)))
    lung = _edge(1 - np.abs(inward) ** 2.4 - np.abs((v - top) / half_height) ** 2.6, 0.16)
    dome = 0.60 + 0.04 * _each(body, 6) - 0.06 * right + 0.9 * (side - 0.40) ** 2 * (0.9 + 0.2 * _each(body, 7))
    lung = lung * _edge(dome - v, 0.035)
    # Heart: bright, two thirds of it on the patient's left, which is the image's right.
    across = (u - 0.13 - 0.02 * _each(body, 8)) / (0.33 + 0.03 * _each(body, 9))
    down = (v - 0.36 - 0.03 * _each(body, 10)) / (0.33 + 0.03 * _each(body, 11))
    heart = _edge(1 - across**2 - down**2 - 0.5 * across * down, 0.22)
    lungs = lung * (1 - heart)
    image -= (0.36 + 0.03 * _each(body, 12)) * lungs
    image += 0.14 * heart
    # Mediastinum with the aortic knob, spine with its vertebrae, liver and stomach under the domes.
    image += 0.16 * np.exp(-((u / (0.11 + 0.01 * _each(body, 13))) ** 2)) * _edge(v + 0.9, 0.1)
    image += 0.10 * np.exp(-(((u - 0.13) / 0.09) ** 2) - ((v + 0.22) / 0.12) ** 2)
    vertebrae = np.cos(2 * np.pi * (v * (5.5 + 0.3 * _each(body, 14)) + 0.2 * _each(body, 15)))
    image += (0.07 + 0.02 * vertebrae) * np.exp(-((u / 0.055) ** 2))
    image += 0.16 * _edge(v - dome, 0.05) * trunk
    # Ribs: bands that run down and outward behind the lungs; clavicles across the apices.
    bands = (v - 0.30 * (side - 0.15) + 0.55 * (side - 0.45) ** 2) * (4.6 + 0.25 * _each(body, 16))
    ribs = np.exp(3.0 * (np.cos(2 * np.pi * (bands + 0.25 * _each(body, 17))) - 1))
    cage = _edge(width - 0.06 - side, 0.05) * _edge(v + 0.84, 0.06) * _edge(dome + 0.12 - v, 0.08)
    image += (0.085 + 0.015 * _each(body, 18)) * ribs * cage * (side > 0.06)
    collar = v + 0.70 + 0.16 * (side - 0.1) + 0.02 * _each(body, 19)
    image += 0.13 * np.exp(-((collar / 0.045) ** 2)) * _edge(side - 0.10, 0.04) * _edge(0.80 - side, 0.06)
    return lungs, image


def _smooth_field(modes: NDArray[np.float32], u: Planes, v: Planes) -> Planes:
    """A smooth random field of about unit deviation, fixed to the patient's frame: cosines with falling weights."""
    number = np.arange(FIELD_MODES, dtype=np.float32)
    weights = 1 / (1 + 0.35 * np.hypot(number[:, None], number[None, :]))
    weights /= np.sqrt((weights**2).sum() / 4)
    across = np.cos(np.pi * number[:, None, None, None] * (u[None] + 1) / 2)
    down = np.cos(np.pi * number[:, None, None, None] * (v[None] + 1) / 2)
    field = np.zeros_like(u)
    for row in range(FIELD_MODES):
        mixed = np.einsum("bk,kbij->bij", modes[:, row] * weights[row], across, optimize=True)
        field += down[row] * mixed
    return field


def _opacity(u: Planes, v: Planes, draws: NDArray[np.float32], *, texture: Planes) -> Planes:
    """A patch with a soft, uneven rim anywhere in the lungs: centre, size, stretch and turn from 8 uniform numbers."""
    sign = np.where(draws[:, 0] < 0.5, -1.0, 1.0).astype(np.float32)
    x = (sign * (0.26 + 0.36 * draws[:, 1]))[:, None, None]
    y = (-0.50 + 0.95 * draws[:, 2])[:, None, None]
    radius = (0.11 + 0.10 * draws[:, 3])[:, None, None]
    stretch = (0.75 + 0.5 * draws[:, 4])[:, None, None]
    angle = (np.pi * draws[:, 5])[:, None, None]
    cos, sin = np.cos(angle), np.sin(angle)
    along = (cos * (u - x) + sin * (v - y)) / (radius * stretch)
    across = (cos * (v - y) - sin * (u - x)) * stretch / radius
    strength = (0.75 + 0.5 * draws[:, 6])[:, None, None]
    opacity: Planes = strength * np.exp(-((along**2 + across**2) ** 1.2) * (1 + 0.15 * texture).clip(0.3))
    return opacity


def _shadow(u: Planes, v: Planes, draws: NDArray[np.float32]) -> Planes:
    """A broad shadow of normal anatomy, wider than an opacity and mostly low or near the middle."""
    sign = np.where(draws[:, 0] < 0.5, -1.0, 1.0).astype(np.float32)
    x = (sign * (0.18 + 0.5 * draws[:, 1]))[:, None, None]
    y = (-0.25 + 0.8 * draws[:, 2])[:, None, None]
    radius = (0.16 + 0.22 * draws[:, 3])[:, None, None]
    stretch = (0.8 + 0.4 * draws[:, 4])[:, None, None]
    strength = (2 * draws[:, 6])[:, None, None]
    shadow: Planes = strength * np.exp(-(((u - x) * stretch / radius) ** 2) - ((v - y) / (stretch * radius)) ** 2)
    return shadow
