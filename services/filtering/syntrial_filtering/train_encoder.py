"""The verb TrainEncoder: a feature encoder fitted to the training split, the only images that its request names."""

from syntrial_training.compute import reproducible

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
    checkpoint = context.checkpoints.load()
    if checkpoint is not None:
        training.restore(checkpoint)
    batch = min(settings.batch_size, len(train))

    def report(step: int, loss: float) -> None:
        if context.checkpoint_due():
            context.checkpoints.save(training.checkpoint())
        context.progress(
            step * batch,
            total=settings.steps * batch,
            unit="images",
            activity="training the encoder",
            figures={"loss": loss},
        )

    training.run(report=report)
    weights, description = dump(training.finish())
    context.output.write("encoder", "weights.safetensors", weights)
    context.output.json("encoder", "encoder.json", description)
