"""Small .npz files that would fill the memory, and damaged ones: refused before their data is unpacked."""

import io
import pickle
import time
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from syntrial.errors import SourceError
from syntrial.imagesets.arrays import read_arrays

IMAGES = np.zeros((40, 8, 8), np.uint8)
LABELS = np.arange(40) % 2


def npy(array: Any, **changes: Any) -> bytes:
    """An array as .npy; `changes` of its header: shape, descr, fortran_order."""
    if not changes:
        file = io.BytesIO()
        np.save(file, array)
        return file.getvalue()
    header = {"descr": array.dtype.str, "fortran_order": False, "shape": array.shape} | changes
    text = f"{header!r:<118}\n".encode()
    return b"\x93NUMPY\1\0" + len(text).to_bytes(2, "little") + text + array.tobytes()


def archive(path: Path, method: int = zipfile.ZIP_DEFLATED, **members: bytes) -> Path:
    whole = {"images": npy(IMAGES), "labels": npy(LABELS)} | members
    with zipfile.ZipFile(path, "w", method) as file:
        for name, data in whole.items():
            file.writestr(f"{name}.npy", data)
    return path


def announced(path: Path, size: int, images: bytes) -> Path:
    """An archive whose directory says that the images have `size` bytes after their header, which is all there is."""
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("images.npy", images)
        file.writestr("labels.npy", npy(LABELS))
        file.getinfo("images.npy").file_size += size
    return path


def zeros(count: int, dtype: str = "<i8", **changes: Any) -> bytes:
    return npy(np.zeros(0, dtype), shape=(count,), **changes) + bytes(count * np.dtype(dtype).itemsize)


CASES: dict[str, tuple[Callable[[Path], Path], str]] = {
    "labels without images": (lambda p: archive(p, labels=zeros(4_000_000)), "a label for each of the 40"),
    "labels in very many columns": (
        lambda p: archive(p, labels=npy(np.zeros(0, np.uint8), shape=(40, 1_000_000)) + bytes(40_000_000)),
        "up to 1000 labels",
    ),
    "patients in very long words": (
        lambda p: archive(p, patients=npy(np.zeros(0, "U1"), shape=(40,), descr="<U125000") + bytes(20_000_000)),
        "at most 200 times their packed length",
    ),
    "labels of Python objects": (
        lambda p: archive(p, labels=npy(np.zeros(0, np.uint8), descr="|O", shape=(40,)) + pickle.dumps([1])),
        "Python objects .* are never opened",
    ),
    "more images than a file can hold": (
        lambda p: archive(p, images=npy(IMAGES, shape=(10**15, 8, 8))),
        r"2560 bytes, where uint8 of shape \(1000000000000000, 8, 8\)",
    ),
    "fewer than there are": (lambda p: archive(p, images=npy(IMAGES, shape=(20, 8, 8))), "read to its end"),
    "less than none": (lambda p: archive(p, images=npy(IMAGES, shape=(-40, -8, 8))), "read to its end"),
    "very many images": (
        lambda p: announced(p, 80_000_016, npy(IMAGES[:0], shape=(5_000_001, 4, 4))),
        "at most 5,000,000 images",
    ),
    "one image of 500 MB": (
        lambda p: announced(p, 8 * 8000**2, npy(IMAGES[:0], shape=(1, 8000, 8000), descr="<f8")),
        "one image has at most 256 MiB",
    ),
    "an unpacker that does not count": (lambda p: archive(p, zipfile.ZIP_LZMA), "stored as they are or deflated"),
    "another one": (lambda p: archive(p, zipfile.ZIP_BZIP2), "stored as they are or deflated"),
    "a header that nests": (
        lambda p: archive(p, labels=b"\x93NUMPY\1\0" + (4000).to_bytes(2, "little") + b"(" * 4000),
        "read to its end",
    ),
    "a header of another kind": (lambda p: archive(p, labels=npy(LABELS, descr=[("a", 3)])), "read to its end"),
    "text that is no Unicode": (
        lambda p: archive(p, patients=npy(np.full(40, 0x7FFFFFFF, "<u4"), descr="<U1", shape=(40,))),
        "patients are text in Unicode",
    ),
    "half a character": (
        lambda p: archive(p, patients=npy(np.full(40, 0xD800, "<u4"), descr="<U1", shape=(40,))),
        "patients are text in Unicode",
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_what_would_fill_the_memory_is_refused_before_it_is_unpacked(case: str, tmp_path: Path) -> None:
    make, message = CASES[case]
    path = make(tmp_path / "set.npz")
    assert path.stat().st_size < 1_000_000
    tracemalloc.start()
    try:
        began = time.process_time()
        with pytest.raises(SourceError, match=message) as caught:
            read_arrays(path, classes=(), title="set.npz")
        assert time.process_time() - began < 2
        assert tracemalloc.get_traced_memory()[1] < 8 << 20
    finally:
        tracemalloc.stop()
    assert all(found.field.startswith("set.npz") and found.remedy for found in caught.value.violations)


def test_sorted_labels_and_blank_images_pack_well_and_are_read(tmp_path: Path) -> None:
    path = tmp_path / "set.npz"
    labels = np.repeat([0, 1], 50_000)
    np.savez_compressed(path, images=np.zeros((100_000, 4, 4), np.uint8), labels=labels)
    assert path.stat().st_size < labels.nbytes / 200
    found = read_arrays(path, classes=(), title="set.npz")
    np.testing.assert_array_equal(found.splits["all"].labels, labels)


def test_columns_before_rows_are_read_as_rows_are(tmp_path: Path) -> None:
    path = tmp_path / "set.npz"
    labels = np.asfortranarray(np.arange(120).reshape(40, 3) % 2)
    np.savez(path, images=IMAGES, labels=labels)
    np.testing.assert_array_equal(read_arrays(path, classes=(), title="set.npz").splits["all"].labels, labels)
