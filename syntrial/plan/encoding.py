"""The trial's encoder, as steps: the one that fits it, and those that give it features of images.

Called by the planner and by searches, whose part it makes; pure, as they are.
"""

from syntrial.experiment.model import Spec
from syntrial.plan import requests
from syntrial.plan.networks import Add, Networks
from syntrial.plan.steps import member_of
from syntrial.v1.artifacts_pb2 import MemberRef


class Encoding:
    """The encoder that filters and figures of one plan are taken by."""

    def __init__(self, spec: Spec, *, train: MemberRef, networks: Networks, add: Add) -> None:
        """`train` is the trial's training split, which alone the encoder is fitted to."""
        self._networks = networks
        self.train_features = networks.encoder_features(train, about="training images")
        """Those that it is fitted to; None where it embeds images itself, as then there are none of others."""
        request = requests.encoder_training(spec.encoder, seed=spec.seed)
        request.train.CopyFrom(train)
        if self.train_features is not None:
            request.features.CopyFrom(self.train_features)
        work = float(request.steps * request.batch_size)
        trained = add("FilteringService/TrainEncoder", request, verb="train", about="the encoder", work=work)
        self.member = member_of(trained, "encoder")

    def features(self, images: MemberRef, *, about: str, add: Add | None = None) -> MemberRef | None:
        """Those that it is given of images, by a step of its own; `add` is that of a search."""
        return self._networks.encoder_features(images, about=about, add=add)
