"""The verb TrainGenerator: a training split to a generator and the curves of its training."""

from syntrial.errors import UserError
from syntrial.imagesets.imageset import read_image_set
from syntrial.rpc.context import StepContext
from syntrial.v1.generation_pb2 import TrainGeneratorRequest
from syntrial_generation.checks import check_diffusion, check_gan, check_pca
from syntrial_generation.data import Subject, check_training_split
from syntrial_generation.diffusion import train_diffusion
from syntrial_generation.gan import train_gan
from syntrial_generation.pca import train_pca


def train_generator(request: TrainGeneratorRequest, context: StepContext) -> None:
    """Writes `generator` (weights.safetensors, generator.json) and `curves` (curves.json).

    Sees the training split only. Raises UserError for a configuration that does not fit the images, and Cancelled.
    """
    images = read_image_set(context.open(request.train))
    check_training_split(images)
    family = request.WhichOneof("generator")
    match family:
        case "diffusion":
            check_diffusion(request.diffusion, images=images)
            weights, settings, curves = train_diffusion(images, request.diffusion, seed=request.seed, context=context)
        case "gan":
            check_gan(request.gan, images=images)
            weights, settings, curves = train_gan(images, request.gan, seed=request.seed, context=context)
        case "pca":
            check_pca(request.pca)
            weights, settings, curves = train_pca(images, request.pca, context=context)
        case _:
            raise UserError(
                field="generator",
                rule="exactly one family must be given",
                received="none",
                remedy="Give diffusion, gan or pca.",
            )
    context.output.write("generator", "weights.safetensors", weights)
    description = {"family": family, "subject": Subject.of(images).json(), "settings": settings}
    context.output.json("generator", "generator.json", description)
    context.output.json("curves", "curves.json", curves.result())
