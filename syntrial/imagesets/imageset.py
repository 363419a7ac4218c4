"""Sets of images as artifacts hold them: pixels, labels, and where each image comes from.

A member that is an image set has these blobs:

    set.json             task, classes, number of images, shape (H, W, C), number of images of each shard
    images-00000.npy …   uint8, N×H×W×C, at most 256 MiB each
    labels.npy           int64 (N,) for one class an image, uint8 (N, K) of 0 and 1 for several
    origins.json         columns of N strings or integers, for example "file" and "patient"
"""

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from syntrial.artifacts.members import ArtifactWriter, MemberReader
from syntrial.errors import DataLoss

SHARD_BYTES: Final = 256 << 20
"""The most pixels, in bytes, that one blob holds."""

MULTI_CLASS: Final = "multi-class"
MULTI_LABEL: Final = "multi-label"


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class ImageSet:
    """Images of one shape with their labels and origins.

    Raises ValueError at construction where arrays, classes and origins do not fit each other.
    """

    images_NHWC: NDArray[np.uint8]  # noqa: N815
    """May be memory-mapped and read-only. C is 1 (grey) or 3 (RGB)."""
    labels: NDArray[Any]
    """int64 (N,), indices into `classes`; or uint8 (N, K) of 0 and 1, one column for each of `classes`."""
    classes: tuple[str, ...]
    task: str
    """"multi-class" (also where there are two classes) or "multi-label"."""
    origins: Mapping[str, Sequence[str] | Sequence[int]] = field(default_factory=dict)
    """Columns of N strings or integers; "patient" says which images belong together."""

    def __post_init__(self) -> None:
        images, labels = self.images_NHWC, self.labels
        if images.dtype != np.uint8 or images.ndim != 4 or images.shape[3] not in {1, 3}:
            raise ValueError(f"images must be uint8, N×H×W×C with C 1 or 3, not {images.dtype} {images.shape}")
        if len(set(self.classes)) != len(self.classes) or not self.classes:
            raise ValueError(f"classes must be distinct and at least one: {self.classes}")
        count = len(images)
        if self.task == MULTI_CLASS:
            if labels.dtype != np.int64 or labels.shape != (count,):
                raise ValueError(f"labels must be int64 ({count},), not {labels.dtype} {labels.shape}")
            top = len(self.classes) - 1
        elif self.task == MULTI_LABEL:
            if labels.dtype != np.uint8 or labels.shape != (count, len(self.classes)):
                expected = (count, len(self.classes))
                raise ValueError(f"labels must be uint8 {expected}, not {labels.dtype} {labels.shape}")
            top = 1
        else:
            raise ValueError(f"task must be {MULTI_CLASS!r} or {MULTI_LABEL!r}, not {self.task!r}")
        if labels.size and (labels.min() < 0 or labels.max() > top):
            raise ValueError(f"labels must lie in 0..{top}; found {labels.min()}..{labels.max()}")
        for name, column in self.origins.items():
            if len(column) != count:
                raise ValueError(f"origins[{name!r}] must have {count} entries, not {len(column)}")

    def __len__(self) -> int:
        return len(self.images_NHWC)

    @property
    def patients(self) -> NDArray[np.int64]:
        """int64 (N,): equal numbers for images of one patient, 0 to P-1 in the order of first appearance.

        Without origins["patient"], each image is a patient of its own.
        """
        if "patient" not in self.origins:
            return np.arange(len(self), dtype=np.int64)
        codes: dict[str | int, int] = {}
        return np.array([codes.setdefault(name, len(codes)) for name in self.origins["patient"]], dtype=np.int64)

    @property
    def class_counts(self) -> NDArray[np.int64]:
        """int64 (K,): number of images of each class, or with each label."""
        if self.task == MULTI_LABEL:
            return np.asarray(self.labels.sum(axis=0, dtype=np.int64))
        return np.bincount(self.labels, minlength=len(self.classes)).astype(np.int64)

    def take(self, indices: NDArray[np.integer[Any]]) -> "ImageSet":
        """The images at `indices`, int (M,), in that order, with their labels and origins."""
        return ImageSet(
            images_NHWC=self.images_NHWC[indices],
            labels=self.labels[indices],
            classes=self.classes,
            task=self.task,
            origins={name: [column[int(i)] for i in indices] for name, column in self.origins.items()},  # type: ignore[misc]
        )


def write_image_set(writer: ArtifactWriter, member: str, image_set: ImageSet) -> None:
    """Writes `image_set` as the member's blobs; holds no more than a chunk of a memory-mapped set in memory."""
    images = image_set.images_NHWC
    count, *shape = images.shape
    per_shard = max(1, SHARD_BYTES // max(1, int(np.prod(shape))))
    shards = [min(per_shard, count - start) for start in range(0, count, per_shard)] or [0]
    for number, length in enumerate(shards):
        start = number * per_shard
        writer.array(member, _shard_name(number), images[start : start + length])
    writer.array(member, "labels.npy", image_set.labels)
    writer.json(member, "origins.json", {name: _plain(column) for name, column in image_set.origins.items()})
    writer.json(
        member,
        "set.json",
        {
            "schema": 1,
            "task": image_set.task,
            "classes": list(image_set.classes),
            "count": count,
            "shape": shape,
            "shards": shards,
        },
    )


def read_image_set(reader: MemberReader) -> ImageSet:
    """The image set in a member. Images are memory-mapped; several shards are joined in an unnamed temporary file.

    Raises ArtifactMissing where the member is no image set, and DataLoss where its parts contradict each other.
    """
    try:
        head = reader.json("set.json")
        shape, shards = tuple(map(int, head["shape"])), [int(length) for length in head["shards"]]
        count = int(head["count"])
        # What the parts say of themselves is seen before any memory is taken for the whole.
        parts = [reader.array(_shard_name(number)) for number in range(len(shards))]
        found = [(part.shape, part.dtype.str) for part in parts]
        if not parts or sum(shards) != count or found != [((length, *shape), "|u1") for length in shards]:
            raise ValueError(f"set.json says {count} images of {shape} in {len(shards)} parts, the parts are others")
        origins = reader.json("origins.json")
        if not all(isinstance(column, list) for column in origins.values()):
            raise ValueError("origins.json holds no columns")
        if len(parts) == 1:
            images = parts[0]
        else:
            with tempfile.TemporaryFile() as file:
                images = np.memmap(file, dtype=np.uint8, mode="w+", shape=(count, *shape))
            start = 0
            for part in parts:
                images[start : start + len(part)] = part
                start += len(part)
            images.flags.writeable = False
        return ImageSet(
            images_NHWC=images,
            labels=np.array(reader.array("labels.npy")),
            classes=tuple(head["classes"]),
            task=head["task"],
            origins=origins,
        )
    except (ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError) as error:
        raise DataLoss(f"{reader.key}#{reader.name} is not a sound image set: {error}", key=reader.key) from error


def _shard_name(number: int) -> str:
    return f"images-{number:05d}.npy"


def _plain(column: Sequence[str] | Sequence[int]) -> list[str | int]:
    """NumPy's integers and strings as Python's, which JSON knows."""
    return [value if isinstance(value, str) else int(value) for value in column]
