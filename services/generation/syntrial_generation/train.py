"""The verb TrainGenerator: a training split to a generator and the curves of its training."""

from syntrial_training.compute import reproducible
from syntrial_training.sharing import shared

from syntrial.documents.document import write
from syntrial.documents.generator import NAME as DESCRIPTION
from syntrial.errors import UserError, listed
from syntrial.imagesets.imageset import read_image_set
from syntrial.rpc.context import StepContext
from syntrial.rpc.ranks import require_items
from syntrial.v1.generation_pb2 import TrainGeneratorRequest
from syntrial_generation.data import Subject, check_training_split
from syntrial_generation.external import EXTERNAL
from syntrial_generation.external.verbs import train_external
from syntrial_generation.parts import read_part
from syntrial_generation.registry import FAMILIES


@reproducible
def train_generator(request: TrainGeneratorRequest, context: StepContext) -> None:
    """Writes `generator` (weights.safetensors, generator.json, what else its family keeps; of code, its files) and
    `curves` (curves.json).

    Sees the training split only, and what was made of it. Raises UserError for a configuration or an
    earlier generator that does not fit the images, and Cancelled.
    """
    images = read_image_set(context.open(request.train))
    check_training_split(images)
    name = request.WhichOneof("generator")
    part = read_part(request, context, subject=Subject.of(images))
    if name == EXTERNAL and request.external.HasField("code"):
        train_external(images, request.external, seed=request.seed, context=context)
        return
    if name not in FAMILIES:
        raise UserError(
            field="generator",
            rule="exactly one family must be given",
            received=name or "none",
            remedy=f"Give {listed(FAMILIES, last='or')}.",
        )
    family, config = FAMILIES[name], getattr(request, name)
    given = family.read(request, images, context) if family.read is not None else images
    family.check(config, given)
    if hasattr(config, "batch_size"):
        require_items(context.devices, batch_size=config.batch_size)
        with shared(context):
            files, settings, curves = family.train(given, config, seed=request.seed, context=context, part=part)
    else:
        files, settings, curves = family.train(given, config, seed=request.seed, context=context, part=part)
    if context.rank:
        return
    for file, data in files.items():
        context.output.write("generator", file, data)
    description = {"family": name, "subject": Subject.of(images).json(), "settings": settings}
    context.output.json("generator", DESCRIPTION, description)
    write(context.output, "curves", "curves.json", document=curves.document())
