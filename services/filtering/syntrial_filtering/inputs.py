"""What the verbs share in opening their inputs: image sets that fit each other, the encoder and what it says of them.

Raises UserError where a synthetic set, the training split and the encoder are not of one data set. An encoder embeds
images itself, or is given the features of its network: which, filters and figures need not know.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from syntrial.errors import UserError
from syntrial.imagesets.features import Features, read_features, require_same
from syntrial.imagesets.imageset import MULTI_LABEL, ImageSet, read_image_set
from syntrial.rpc.context import StepContext
from syntrial.v1.artifacts_pb2 import MemberRef
from syntrial_filtering import encoder as own
from syntrial_filtering import frozen
from syntrial_filtering.encoder import Embedding
from syntrial_filtering.frozen import FrozenEncoder

if TYPE_CHECKING:
    from syntrial.artifacts.store import MemberReader


Encoder = own.Encoder | FrozenEncoder
"""Trained here, or fitted to the features of a network that was trained elsewhere."""


def open_encoder(context: StepContext, ref: MemberRef) -> Encoder:
    """The encoder that the request names."""
    reader: MemberReader = context.open(ref)
    weights, description = reader.read("weights.safetensors"), reader.json("encoder.json")
    if description.get("kind") == frozen.KIND:
        return frozen.load(weights, description)
    return own.load(weights, description)


def open_features(
    context: StepContext, request: Any, field: str, *, encoder: Encoder, images: ImageSet
) -> Features | None:
    """The features of images that the request names in a field; None for an encoder that embeds images itself.

    Raises UserError for features that the encoder has no use for, that it lacks, or that are of another network.
    """
    is_given, is_frozen = request.HasField(field), isinstance(encoder, FrozenEncoder)
    if is_given != is_frozen:
        raise UserError(
            field=field,
            rule="features stand for images where the encoder was fitted to features, and there alone",
            received="features" if is_given else "none",
            remedy="Leave them out." if is_given else "Extract them with the encoder's network.",
        )
    if not isinstance(encoder, FrozenEncoder):
        return None
    found = read_features(context.open(getattr(request, field)), count=len(images))
    require_same(found.network, expected=encoder.network, field=field)
    return found


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


def embed_with_progress(
    context: StepContext, encoder: Encoder, images_NHWC: np.ndarray, *, features: Features | None, activity: str
) -> Embedding:
    """What the encoder says of images, reporting how far it is; `features` are what `open_features` gave of them."""
    if isinstance(encoder, FrozenEncoder):
        assert features is not None, "a frozen network's encoder is given features"
        return frozen.embed(encoder, features)
    return own.embed(encoder, images_NHWC, report=reporter(context, total=len(images_NHWC), activity=activity))


def reporter(context: StepContext, *, total: int, activity: str) -> Callable[[int], None]:
    """A function that reports the images done; it raises Cancelled where the step is to stop."""

    def report(done: int) -> None:
        context.progress(done, total=total, unit="images", activity=activity)

    return report
