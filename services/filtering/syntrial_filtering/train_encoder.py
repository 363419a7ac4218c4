"""The verb TrainEncoder: a feature encoder fitted to the training split, the only images that its request names.

The network itself, or what follows on the features of a network that was trained elsewhere (see `frozen`).
"""

import math

from syntrial_training.compute import reproducible
from syntrial_training.loop import train as run

from syntrial.errors import UserError
from syntrial.imagesets.features import read_features
from syntrial.imagesets.imageset import ImageSet, read_image_set
from syntrial.rpc.context import StepContext
from syntrial.v1.filtering_pb2 import TrainEncoderRequest
from syntrial_filtering import frozen
from syntrial_filtering.encoder import Encoder, EncoderSettings, EncoderTraining, dump
from syntrial_filtering.frozen import FrozenEncoder


@reproducible
def train_encoder(request: TrainEncoderRequest, context: StepContext) -> None:
    """Writes the member `encoder` (weights.safetensors, encoder.json). Goes on from a checkpoint exactly."""
    train = read_image_set(context.open(request.train))
    if request.HasField("features"):
        weights, description = frozen.dump(_fitted(request, train, context))
    else:
        weights, description = dump(_trained(request, train, context))
    context.output.write("encoder", "weights.safetensors", weights)
    context.output.json("encoder", "encoder.json", description)


def _fitted(request: TrainEncoderRequest, train: ImageSet, context: StepContext) -> FrozenEncoder:
    for field in ("steps", "batch_size", "feature_size"):
        if getattr(request, field):
            raise UserError(
                field=f"encoder.{field}",
                rule="is of a network that is trained here, not of one whose features are given",
                received=getattr(request, field),
                remedy="Leave it out.",
            )
    features = read_features(context.open(request.features), count=len(train))

    def on_fit(done: int) -> None:
        context.progress(done, total=frozen.FITS, unit="fits", activity="fitting the encoder's classifier")

    return frozen.fit(train, features, seed=request.seed, on_fit=on_fit)


def _trained(request: TrainEncoderRequest, train: ImageSet, context: StepContext) -> Encoder:
    settings = EncoderSettings(
        seed=request.seed, steps=request.steps, batch_size=request.batch_size, feature_size=request.feature_size
    )
    training = EncoderTraining(train.images_NHWC, train.labels, classes=train.classes, settings=settings)
    batch = min(settings.batch_size, len(train))

    def on_step(done: int) -> None:
        context.progress(
            done * batch,
            total=settings.steps * batch,
            unit="images",
            activity="training the encoder",
            figures={"loss": training.last_loss} if math.isfinite(training.last_loss) else {},
        )

    run(training, context=context, on_step=on_step)
    return training.finish()
