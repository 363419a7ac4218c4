"""The verb ProjectImages: real, accepted and rejected images by their features, drawn in two dimensions."""

from dataclasses import replace
from typing import Final

import numpy as np
from syntrial_training.compute import reproducible

from syntrial.documents.document import write
from syntrial.documents.projection import KINDS, Projection
from syntrial.errors import UserError
from syntrial.imagesets.imageset import ImageSet
from syntrial.rpc.context import StepContext
from syntrial.v1.filtering_pb2 import ProjectImagesRequest
from syntrial_filtering.inputs import embed_with_progress, groups_of, open_encoder, open_features, open_sets
from syntrial_filtering.umap import umap

LEAST: Final = 10
"""Images below which a picture of neighbourhoods says nothing."""


@reproducible
def project_images(request: ProjectImagesRequest, context: StepContext) -> None:
    """Writes the member `projection`: coordinates.npy (float32 N×2), kinds.npy (uint8 (N,), places in `KINDS`),
    rows.npy and groups.npy (int64 (N,): the image's place in its set, its class), projection.json.

    Raises UserError for parameters out of range, and for sets with too few images.
    """
    _check(request)
    encoder = open_encoder(context, request.encoder)
    accepted, train = open_sets(context, images=request.accepted, train=request.train)
    rejected, _ = open_sets(context, images=request.rejected, train=request.train)
    sets = dict(zip(KINDS, (train, accepted, rejected), strict=True))
    rows = {
        name: _chosen(found, most=request.most, seed=request.seed, stream=n)
        for n, (name, found) in enumerate(sets.items())
    }
    total = sum(map(len, rows.values()))
    if total < LEAST:
        raise UserError(
            field="accepted",
            rule=f"a projection has at least {LEAST} images",
            received=f"{total}, real ones among them",
            remedy="Leave the projection out, or use more images.",
        )
    opened = (
        open_features(context, request, field, encoder=encoder, images=found)
        for field, found in zip(
            ("train_features", "accepted_features", "rejected_features"), sets.values(), strict=True
        )
    )
    # Of one network: those of all images stand in one table, as their pixels do.
    at_hand = [found.take(rows[name]) for name, found in zip(sets, opened, strict=True) if found is not None]
    given = replace(at_hand[0], values_ND=np.concatenate([one.values_ND for one in at_hand])) if at_hand else None
    chosen = np.concatenate([found.images_NHWC[rows[name]] for name, found in sets.items()])
    features = embed_with_progress(context, encoder, chosen, features=given, activity="embedding images").features_NF
    places = umap(
        features.astype(np.float64),
        neighbours=request.neighbours,
        min_dist=request.min_dist,
        seed=request.seed,
    )
    kinds = np.repeat(np.arange(len(KINDS), dtype=np.uint8), [len(rows[name]) for name in KINDS])
    output = context.output
    output.array("projection", "coordinates.npy", places.astype(np.float32))
    output.array("projection", "kinds.npy", kinds)
    output.array("projection", "rows.npy", np.concatenate([rows[name] for name in KINDS]))
    output.array("projection", "groups.npy", np.concatenate([groups_of(sets[name])[rows[name]] for name in KINDS]))
    document = Projection(
        version=1,
        method="umap",
        neighbours=request.neighbours,
        min_dist=request.min_dist,
        shown={name: len(rows[name]) for name in KINDS},
        of={name: len(found) for name, found in sets.items()},
    )
    write(output, "projection", "projection.json", document=document)


def _check(request: ProjectImagesRequest) -> None:
    if not 2 <= request.neighbours <= 200:
        raise UserError(field="neighbours", rule="is from 2 to 200", received=request.neighbours, remedy="15 is usual.")
    if not 0 <= request.min_dist < 3:
        raise UserError(field="min_dist", rule="lies in [0, 3)", received=request.min_dist, remedy="0.1 is usual.")
    if not 1 <= request.most <= 5000:
        raise UserError(field="most", rule="is from 1 to 5,000", received=request.most, remedy="600 is usual.")


def _chosen(images: ImageSet, *, most: int, seed: int, stream: int) -> np.ndarray:
    """int64: all rows, or `most` of them drawn at random, in their order."""
    if len(images) <= most:
        return np.arange(len(images), dtype=np.int64)
    return np.sort(np.random.default_rng([seed, 29, stream]).choice(len(images), most, replace=False)).astype(np.int64)
