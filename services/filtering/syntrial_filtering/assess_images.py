"""The verb AssessImages: how far a synthetic set is from real images, and whether it holds copies of them.

Wiring only: see `frechet`, `inception`, `precision_recall`, `diversity`, `told_apart` and `copies`. `quality.json` is a
`syntrial.documents.quality.Quality`.
"""

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
from syntrial_training.compute import reproducible

from syntrial.documents import quality as documents
from syntrial.documents.document import extended, write
from syntrial.errors import UserError
from syntrial.imagesets.features import Features, read_features, require_same
from syntrial.imagesets.imageset import MULTI_LABEL, ImageSet
from syntrial.rpc.context import StepContext
from syntrial.v1.filtering_pb2 import AssessImagesRequest
from syntrial_filtering import frechet, inception
from syntrial_filtering.copies import repeated
from syntrial_filtering.copy_search import CopySearch, search_copies
from syntrial_filtering.diversity import diversity
from syntrial_filtering.frozen import FrozenEncoder
from syntrial_filtering.inputs import Encoder, embed_with_progress, groups_of, open_encoder, open_features, open_sets
from syntrial_filtering.precision_recall import precision_recall
from syntrial_filtering.told_apart import Kind, told_apart
from syntrial_filtering.turned import WORDS

PAIRS: Final = 16
"""The nearest pairs of a synthetic and a training image that are kept as pictures."""

FAR: Final = 2.0
"""How many times over its floor a class's distance is before other classes are tried."""

EMBEDDED_REAL: Final = 2 * frechet.LARGEST_SAMPLE
"""At most this many training images are embedded: two samples of the largest size."""


@reproducible
def assess_images(request: AssessImagesRequest, context: StepContext) -> None:
    """Writes the member `quality` (quality.json, and copies.npy: uint8 (P, 2, H, W, C), synthetic beside training)."""
    synthetic, train = open_sets(context, images=request.images, train=request.train)
    encoder = open_encoder(context, request.encoder)
    features = open_features(context, request, "features", encoder=encoder, images=synthetic)
    train_features = open_features(context, request, "train_features", encoder=encoder, images=train)
    real, real_features = _sample(train, train_features, count=EMBEDDED_REAL, seed=request.seed, stream=7)
    fake, fake_features = _sample(synthetic, features, count=frechet.LARGEST_SAMPLE, seed=request.seed, stream=8)
    real_NF = embed_with_progress(
        context, encoder, real.images_NHWC, features=real_features, activity="embedding real images"
    ).features_NF
    fake_NF = embed_with_progress(
        context, encoder, fake.images_NHWC, features=fake_features, activity="embedding synthetic images"
    ).features_NF
    distances = _frechet(context, encoder, real, real_NF=real_NF, fake_NF=fake_NF, seed=request.seed)
    manifold = precision_recall(fake_NF, real_NF, seed=request.seed)
    by_class = _frechet_by_class(fake, fake_NF, real, real_NF, seed=request.seed)
    search = search_copies(context, synthetic.images_NHWC, train, quantile=request.copies.quantile, seed=request.seed)
    nearest = _nearest_pairs(search)
    quality = documents.Quality(
        version=1,
        images=len(synthetic),
        real_images=len(train),
        features=documents.Features(
            size=real_NF.shape[1],
            normalisation="each feature minus its mean, over its deviation, among the real training images",
            network=_network(encoder.network) if isinstance(encoder, FrozenEncoder) else None,
        ),
        frechet=distances,
        frechet_by_class=by_class,
        precision_recall=manifold,
        memorised=extended(
            documents.Memorised,
            search.figures(),
            pairs=tuple(_pair(search, position) for position in nearest.tolist()),
        ),
        repeated=repeated(synthetic.images_NHWC),
        diversity_by_class={
            name: diversity(fake_NF[_bearing(fake, label)], real_NF[_bearing(real, label)], seed=request.seed)
            for label, name in enumerate(real.classes)
        },
        told_apart=told_apart(_kind(fake), _kind(real), seed=request.seed),
        nearest_class=_nearest_class(fake, fake_NF, real, real_NF, by_class=by_class, seed=request.seed),
        inception=_inception(context, request, synthetic=synthetic, train=train),
    )
    write(context.output, "quality", "quality.json", document=quality)
    pictures = np.stack([synthetic.images_NHWC[nearest], train.images_NHWC[_nearest(search)[nearest]]], axis=1)
    context.output.array("quality", "copies.npy", pictures)


def _kind(image_set: ImageSet) -> Kind:
    return Kind(images_NHWC=image_set.images_NHWC, groups=groups_of(image_set), patients=image_set.patients)


def _sample(
    image_set: ImageSet, features: Features | None, *, count: int, seed: int, stream: int
) -> tuple[ImageSet, Features | None]:
    """The set, or `count` of its images drawn at random, in their order; and their features where there are any."""
    if len(image_set) <= count:
        return image_set, features
    rows = np.sort(np.random.default_rng([seed, stream]).choice(len(image_set), count, replace=False))
    return image_set.take(rows), None if features is None else features.take(rows)


def _frechet(
    context: StepContext, encoder: Encoder, real: ImageSet, *, real_NF: np.ndarray, fake_NF: np.ndarray, seed: int
) -> documents.Frechet | None:
    """The distance of the whole set; beside that of Gaussian pixels where the encoder embeds images itself."""
    if isinstance(encoder, FrozenEncoder):
        figures = frechet.compare(fake_NF, real_NF, seed=seed)
        return None if figures is None else figures.document()
    pixels_NHWC = frechet.gaussian_pixels(
        real.images_NHWC,
        groups_of(real),
        count=min(len(fake_NF), len(real) // 2, frechet.LARGEST_SAMPLE),
        seed=seed,
    )
    gaussian_NF = embed_with_progress(
        context, encoder, pixels_NHWC, features=None, activity="embedding the Gaussian"
    ).features_NF
    figures = frechet.compare(fake_NF, real_NF, seed=seed, gaussian_PF=gaussian_NF)
    return None if figures is None else figures.beside_gaussian()


def _inception(
    context: StepContext, request: AssessImagesRequest, *, synthetic: ImageSet, train: ImageSet
) -> documents.Inception | None:
    """FID and KID, of the images that the encoder's distances are of; None where no features are given for them.

    Raises UserError where one kind of images has such features and the other has none, or those of other weights.
    """
    given = [request.HasField(name) for name in ("inception_features", "train_inception_features")]
    if not any(given):
        return None
    if not all(given):
        raise UserError(
            field="inception_features",
            rule="FID and KID are taken on features of the images and of the training images",
            received="those of one of the two",
            remedy="Give both, or neither.",
        )
    of_fake = read_features(context.open(request.inception_features), count=len(synthetic))
    of_real = read_features(context.open(request.train_inception_features), count=len(train))
    require_same(of_fake.network, expected=of_real.network, field="inception_features")
    _, fake = _sample(synthetic, of_fake, count=frechet.LARGEST_SAMPLE, seed=request.seed, stream=8)
    _, real = _sample(train, of_real, count=EMBEDDED_REAL, seed=request.seed, stream=7)
    assert fake is not None
    assert real is not None
    network = _network(of_real.network)
    return inception.compare(fake.values_ND, real.values_ND, seed=request.seed, network=network)


def _network(network: Mapping[str, Any]) -> documents.Network:
    """The network that features are of, by name."""
    model, begun = network["model"], network["pretraining"]
    return documents.Network(
        model=model["name"], weights=begun["digest"] if "digest" in begun else begun["key"], side=model["side"]
    )


def _frechet_by_class(
    fake: ImageSet, fake_NF: np.ndarray, real: ImageSet, real_NF: np.ndarray, *, seed: int
) -> dict[str, documents.Frechet | None]:
    """Distances within each class that has enough images; empty where an image has several labels."""
    if real.task == MULTI_LABEL:
        return {}
    rows: dict[str, documents.Frechet | None] = {}
    for label, name in enumerate(real.classes):
        figures = frechet.compare(fake_NF[fake.labels == label], real_NF[real.labels == label], seed=seed)
        rows[name] = None if figures is None else figures.document()
    return rows


def _bearing(image_set: ImageSet, label: int) -> np.ndarray:
    """bool (N,): the images of a class, or those that bear the label where there are several."""
    return np.asarray(image_set.labels[:, label] > 0 if image_set.task == MULTI_LABEL else image_set.labels == label)


def _nearest_class(
    fake: ImageSet,
    fake_NF: np.ndarray,
    real: ImageSet,
    real_NF: np.ndarray,
    *,
    by_class: dict[str, documents.Frechet | None],
    seed: int,
) -> dict[str, documents.NearestClass]:
    """For each class that lies far from its own real images, the class that it is nearest to: perhaps its true one."""
    found: dict[str, documents.NearestClass] = {}
    for label, (name, own) in enumerate(by_class.items()):
        if own is None or own.ratio_to_floor is None or own.ratio_to_floor < FAR:
            continue
        best = documents.NearestClass(name=name, synthetic_real=own.synthetic_real)
        for other, other_name in enumerate(real.classes):
            if other == label:
                continue
            figures = frechet.compare(fake_NF[fake.labels == label], real_NF[real.labels == other], seed=seed)
            if figures is not None and figures.synthetic < best.synthetic_real:
                best = documents.NearestClass(name=other_name, synthetic_real=figures.synthetic)
        found[name] = best
    return found


def _nearest_pairs(search: CopySearch) -> np.ndarray:
    """Positions int64 of the synthetic images that are turned copies, then of those with the lowest scores; half each
    where there are many of both.
    """
    numbers = np.arange(len(search.found))
    turned = np.lexsort((numbers, search.turned.distances))[: int(search.turned.found.sum())]
    upright = np.lexsort((numbers, search.scores.scores))
    upright = upright[(search.scores.nearest[upright] >= 0) & ~search.turned.found[upright]]
    first = turned[: max(PAIRS // 2, PAIRS - len(upright))]
    return np.concatenate([first, upright[: PAIRS - len(first)]])


def _nearest(search: CopySearch) -> np.ndarray:
    """int64 (N,): the training image that each image is shown beside."""
    return np.where(search.turned.found, search.turned.rows, search.scores.nearest)


def _pair(search: CopySearch, position: int) -> documents.CopyPair:
    turned = bool(search.turned.found[position])
    return documents.CopyPair(
        synthetic=position,
        training=int(_nearest(search)[position]),
        score=float(search.scores.scores[position]),
        distance=float(search.scores.distances[position]),
        copy=bool(search.found[position]),
        exact=bool(search.exact[position]),
        position=WORDS[int(search.turned.positions[position])] if turned else "",
    )
