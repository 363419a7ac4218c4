"""What the verbs share in opening their inputs: image sets that fit each other, and the trained encoder.

Raises UserError where a synthetic set, the training split and the encoder are not of one data set.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from syntrial.errors import UserError
from syntrial.imagesets.imageset import MULTI_LABEL, ImageSet, read_image_set
from syntrial.rpc.context import StepContext
from syntrial.v1.artifacts_pb2 import MemberRef
from syntrial_filtering.encoder import Embedding, Encoder, embed
from syntrial_filtering.encoder import load as load_encoder

if TYPE_CHECKING:
    from syntrial.artifacts.store import MemberReader


def open_encoder(context: StepContext, ref: MemberRef) -> Encoder:
    """The encoder that the request names."""
    reader: MemberReader = context.open(ref)
    return load_encoder(reader.read("weights.safetensors"), reader.json("encoder.json"))


def open_sets(context: StepContext, *, images: MemberRef, train: MemberRef) -> tuple[ImageSet, ImageSet]:
    """The synthetic images and the training split, which must have the same task, classes and shape."""
    synthetic = read_image_set(context.open(images))
    real = read_image_set(context.open(train))
    for what, received, expected in (
        ("task", synthetic.task, real.task),
        ("classes", synthetic.classes, real.classes),
        ("height, width and channels", synthetic.images_NHWC.shape[1:], real.images_NHWC.shape[1:]),
    ):
        if received != expected:
            raise UserError(
                field="images",
                rule=f"synthetic images must have the training split's {what}, {expected}",
                received=str(received),
                remedy="Give both the same classes, size and colour mode; for imported images set `classMap`.",
            )
    return synthetic, real


def groups_of(image_set: ImageSet) -> np.ndarray:
    """int64 (N,): what 'per class' means: the class, or one group where an image has several labels."""
    if image_set.task == MULTI_LABEL:
        return np.zeros(len(image_set), dtype=np.int64)
    return np.asarray(image_set.labels, dtype=np.int64)


def group_names(image_set: ImageSet) -> tuple[str, ...]:
    """Names of the groups, by their number."""
    return ("all",) if image_set.task == MULTI_LABEL else image_set.classes


def embed_with_progress(context: StepContext, encoder: Encoder, images_NHWC: np.ndarray, *, activity: str) -> Embedding:
    """`encoder.embed`, reporting how far it is."""
    return embed(encoder, images_NHWC, report=reporter(context, total=len(images_NHWC), activity=activity))


def reporter(context: StepContext, *, total: int, activity: str) -> Callable[[int], None]:
    """A function that reports the images done; it raises Cancelled where the step is to stop."""

    def report(done: int) -> None:
        context.progress(done, total=total, unit="images", activity=activity)

    return report
