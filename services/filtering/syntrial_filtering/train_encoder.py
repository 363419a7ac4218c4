"""The verb TrainEncoder: a feature encoder fitted to the training split, the only images that its request names."""

import math

from syntrial_training.compute import reproducible
from syntrial_training.loop import train as run

from syntrial.imagesets.imageset import read_image_set
from syntrial.rpc.context import StepContext
from syntrial.v1.filtering_pb2 import TrainEncoderRequest
from syntrial_filtering.encoder import EncoderSettings, EncoderTraining, dump


@reproducible
def train_encoder(request: TrainEncoderRequest, context: StepContext) -> None:
    """Writes the member `encoder` (weights.safetensors, encoder.json). Goes on from a checkpoint exactly."""
    settings = EncoderSettings(
        seed=request.seed, steps=request.steps, batch_size=request.batch_size, feature_size=request.feature_size
    )
    train = read_image_set(context.open(request.train))
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
    weights, description = dump(training.finish())
    context.output.write("encoder", "weights.safetensors", weights)
    context.output.json("encoder", "encoder.json", description)
