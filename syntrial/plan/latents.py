"""What a generator that works in latents is made of, as steps: pools of unlabelled images, its autoencoder, the latents
of what it sees, and its fine-tuning.

Called by the planner, whose part it is; pure, as that is.
"""

from collections.abc import Mapping, Sequence

from syntrial.experiment.model import Generator, Spec, Synthetic
from syntrial.experiment.presets.generators import FAMILIES
from syntrial.plan import requests
from syntrial.plan.networks import Add
from syntrial.plan.steps import member_of
from syntrial.sources.named import DATASET, initial_of, pool_name, pools_of
from syntrial.v1.analysis_pb2 import PoolSummary, SyntheticSummary
from syntrial.v1.artifacts_pb2 import MemberRef
from syntrial.v1.data_preparation_pb2 import HeldOut, PreparePoolRequest, Source
from syntrial.v1.generation_pb2 import EncodeImagesRequest, LatentInputs, TrainGeneratorRequest, Unlabelled


def works_in_latents(generator: Generator | None) -> bool:
    """Whether the generator is trained in the latents of an autoencoder."""
    return generator is not None and generator.kind in FAMILIES and bool(FAMILIES[generator.kind].autoencoders)


def steps_in_latents(generator: Generator | None) -> int:
    """Steps of the generator beside those that every one has."""
    if generator is None or not works_in_latents(generator):
        return 0
    tuned = generator.chosen.fine_tune is not None
    trained = initial_of(generator) is None
    return trained + (2 if requests.is_guided(generator) else 1) + 2 * len(pools_of(generator)) + tuned


def pools(
    spec: Spec, item: Synthetic, *, sources: Mapping[str, Source], dataset: str, summary: SyntheticSummary, add: Add
) -> list[Unlabelled]:
    """The generator's pools, each prepared beside what the trial holds out; those of equal sources are one step.

    `dataset` is the key of the trial's prepared data.
    """
    found = []
    for number, pool in enumerate(pools_of(item.generator)):
        source, own = sources[pool_name(item, number)], sources[DATASET]
        request = PreparePoolRequest(
            source=source,
            format=requests.image_format(spec.dataset),
            held_out=HeldOut(
                validation=member_of(dataset, "validation"),
                test=member_of(dataset, "test"),
                same_source=_is_of(source, own),
            ),
            train=member_of(dataset, "train"),
            leaks=requests.pool_policy(pool),
            scale=member_of(dataset, "scale"),
        )
        key = add("DataPreparationService/PreparePool", request, verb="prepare", about=f"{item.name} pool {number + 1}")
        told = PoolSummary(audit=member_of(key, "audit"), weight=pool.weight)
        if told not in summary.unlabelled:
            summary.unlabelled.append(told)
        found.append(Unlabelled(images=member_of(key, "images"), weight=pool.weight))
    return found


def _is_of(source: Source, own: Source) -> bool:
    """Whether a pool is of the data set's own source: its patients are those there."""
    if source.digest or own.digest:
        return source.digest == own.digest
    return source == own


def guide(
    generator: Generator, latent: LatentInputs, *, train: MemberRef, seed: int, about: str, add: Add
) -> MemberRef | None:
    """The classifier that guides the generator's sampling, trained on the training split's labels; None: none does."""
    if not requests.is_guided(generator):
        return None
    training = requests.guide_training(generator, seed=seed)
    training.train.CopyFrom(train)
    training.latents.CopyFrom(latent.train)
    trained = add(
        "GenerationService/TrainLatentClassifier",
        training,
        verb="train",
        about=f"the classifier that guides {about}",
        work=float(training.config.images),
    )
    return member_of(trained, "classifier")


def latent_inputs(
    generator: Generator,
    *,
    train: MemberRef,
    unlabelled: Sequence[Unlabelled],
    autoencoder: MemberRef | None,
    perceptual: str,
    size: int,
    seed: int,
    about: str,
    summary: SyntheticSummary,
    add: Add,
) -> LatentInputs:
    """The autoencoder, trained on the training split and the pools, and the latents of all by it.

    `autoencoder` is the generator that the training begins with, which holds its own; with None one is trained, which
    generators with the same settings and seed share. `perceptual` is the digest of the weights of a perceptual term of
    its loss. Raises UserError where it does not fit the images.
    """
    if autoencoder is None:
        autoencoder = _autoencoder(
            generator,
            train=train,
            unlabelled=unlabelled,
            perceptual=perceptual,
            size=size,
            seed=seed,
            about=about,
            summary=summary,
            add=add,
        )

    def latents(images: MemberRef, title: str) -> MemberRef:
        request = EncodeImagesRequest(autoencoder=autoencoder, images=images)
        encoded = add("GenerationService/EncodeImages", request, verb="encode", about=f"{title} for {about}")
        return member_of(encoded, "latents")

    return LatentInputs(
        autoencoder=autoencoder,
        train=latents(train, "the training split"),
        unlabelled=[
            Unlabelled(images=latents(pool.images, f"pool {number}"), weight=pool.weight)
            for number, pool in enumerate(unlabelled, start=1)
        ],
    )


def _autoencoder(
    generator: Generator,
    *,
    train: MemberRef,
    unlabelled: Sequence[Unlabelled],
    perceptual: str,
    size: int,
    seed: int,
    about: str,
    summary: SyntheticSummary,
    add: Add,
) -> MemberRef:
    training = requests.autoencoder_training(generator, size=size, seed=seed, perceptual=perceptual)
    training.train.CopyFrom(train)
    training.unlabelled.extend(unlabelled)
    trained = add(
        "GenerationService/TrainAutoencoder",
        training,
        verb="train",
        about=f"the autoencoder of {about}",
        work=float(training.config.images),
    )
    summary.reconstructions.append(member_of(trained, "reconstructions"))
    return member_of(trained, "autoencoder")


def fine_tuned(
    generator: Generator,
    training: TrainGeneratorRequest,
    *,
    first: str,
    about: str,
    summary: SyntheticSummary,
    add: Add,
) -> str:
    """The key of the generator that is sampled: `first`, which `training` made, or what fine-tuning makes of that."""
    chosen = getattr(generator.chosen, "fine_tune", None)
    if chosen is None:
        return first
    tuning = requests.fine_tuning(training, chosen)
    tuning.initial.CopyFrom(member_of(first, "generator"))
    work = float(tuning.latent_diffusion.images)
    tuned = add("GenerationService/TrainGenerator", tuning, verb="fine-tune", about=about, work=work)
    summary.curves.append(member_of(tuned, "curves"))
    return tuned
