"""Facts of files, by their headers."""

import io
from typing import Any

import numpy as np
import pytest
from PIL import Image

from syntrial.imagesets.facts import facts_of

PIXELS = np.random.default_rng(0).integers(0, 256, (20, 30), dtype=np.uint8)


def stored(picture: Image.Image, kind: str, **options: Any) -> tuple[Image.Image, int]:
    """The picture as a file of this format: opened, and its length."""
    file = io.BytesIO()
    picture.save(file, kind, **options)
    return Image.open(file), file.tell()


@pytest.mark.parametrize(
    ("picture", "kind", "mode", "depth"),
    [
        (Image.fromarray(PIXELS), "PNG", "L", 8),
        (Image.fromarray(PIXELS).convert("RGB"), "PNG", "RGB", 8),
        (Image.fromarray(PIXELS.astype(np.uint16)), "PNG", "I;16", 16),
        (Image.fromarray(PIXELS).convert("1"), "TIFF", "1", 1),
        (Image.fromarray(PIXELS.astype(np.float32)), "TIFF", "F", 32),
    ],
)
def test_form_mode_depth_and_size_are_those_of_the_header(
    picture: Image.Image, kind: str, mode: str, depth: int
) -> None:
    opened, length = stored(picture, kind)
    facts = facts_of(opened, length=length)
    assert (facts.format, facts.mode, facts.depth) == (kind, mode, depth)
    assert (facts.width, facts.height, facts.bytes, facts.frames) == (30, 20, length, 1)
    assert facts.coarseness is None


def test_the_quality_of_a_jpeg_is_told_by_its_table() -> None:
    coarse, fine = (stored(Image.fromarray(PIXELS), "JPEG", quality=quality) for quality in (20, 95))
    found = [facts_of(opened, length=length).coarseness for opened, length in (coarse, fine)]
    assert found[0] is not None
    assert found[1] is not None
    assert found[0] > 5 * found[1]


def test_pages_are_counted() -> None:
    page = Image.fromarray(PIXELS)
    opened, length = stored(page, "TIFF", save_all=True, append_images=[page, page])
    assert facts_of(opened, length=length).frames == 3
