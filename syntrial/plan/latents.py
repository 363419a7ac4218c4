"""What a generator that works in latents is made of, as steps: its autoencoder, and the latents of what it sees.

Called by the planner, whose part it is; pure, as that is.
"""

from syntrial.experiment.model import Generator
from syntrial.experiment.presets.generators import FAMILIES
from syntrial.plan import requests
from syntrial.plan.networks import Add
from syntrial.plan.steps import member_of
from syntrial.v1.analysis_pb2 import SyntheticSummary
from syntrial.v1.artifacts_pb2 import MemberRef
from syntrial.v1.generation_pb2 import EncodeImagesRequest, LatentInputs


def works_in_latents(generator: Generator | None) -> bool:
    """Whether the generator is trained in the latents of an autoencoder."""
    return generator is not None and generator.kind in FAMILIES and bool(FAMILIES[generator.kind].autoencoders)


def steps_in_latents(generator: Generator | None) -> int:
    """Steps of the generator beside those that every one has."""
    if generator is None or not works_in_latents(generator):
        return 0
    return 3 if requests.is_guided(generator) else 2


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
    generator: Generator, *, train: MemberRef, size: int, seed: int, about: str, summary: SyntheticSummary, add: Add
) -> LatentInputs:
    """The autoencoder, trained on the training split, and the split's latents by it.

    Generators with the same autoencoder and seed share it. Raises UserError where it does not fit the images.
    """
    training = requests.autoencoder_training(generator, size=size, seed=seed)
    training.train.CopyFrom(train)
    trained = add(
        "GenerationService/TrainAutoencoder",
        training,
        verb="train",
        about=f"the autoencoder of {about}",
        work=float(training.config.images),
    )
    summary.reconstructions.append(member_of(trained, "reconstructions"))
    autoencoder = member_of(trained, "autoencoder")
    encoded = add(
        "GenerationService/EncodeImages",
        EncodeImagesRequest(autoencoder=autoencoder, images=train),
        verb="encode",
        about=f"the training split for {about}",
    )
    return LatentInputs(autoencoder=autoencoder, train=member_of(encoded, "latents"))
