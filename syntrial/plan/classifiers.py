"""Trainings of classifiers on the trial's images, as steps.

Called by the planner and by searches, whose parts it makes; pure, as they are.
"""

from dataclasses import dataclass

from syntrial.experiment.arms import Arm
from syntrial.experiment.classifiers import Classifier
from syntrial.experiment.model import Spec
from syntrial.plan import requests
from syntrial.plan.networks import Add, Networks, seed_of
from syntrial.plan.steps import member_of
from syntrial.v1.artifacts_pb2 import MemberRef
from syntrial.v1.classification_pb2 import ClassifierModel, ClassifierPart, Probe, TrainClassifierRequest


@dataclass(frozen=True, kw_only=True, slots=True)
class Shown:
    """Accepted synthetic images that a training is shown beside real ones."""

    images: MemberRef
    about: str
    """What they are called."""
    balance: str
    """How they are shared out among the classes, as requests have it."""


class Classifiers:
    """The trainings of one plan; those that are equal are one step."""

    def __init__(self, spec: Spec, networks: Networks, *, dataset: str) -> None:
        """`dataset` is the key of the trial's prepared data."""
        self._spec, self._networks, self._dataset = spec, networks, dataset

    def train(
        self,
        classifier: Classifier,
        arm: Arm,
        *,
        replicate: int,
        shown: Shown | None,
        about: str,
        add: Add,
        network: str | None = None,
        part: ClassifierPart | None = None,
    ) -> str:
        """The key of a training in an arm by a replicate's seed, or of a part of it.

        `about` is what it is called. `network` is the trial of a search whose own its chain and its features are: what
        they are called after, and added as the training is.
        """
        of_network = add if network is not None else None
        model = self._networks.model(
            classifier, links=len(classifier.chain), replicate=replicate, about=network, add=of_network
        )
        probe = self._probe(classifier, shown, network=network, add=of_network)
        request = self._request(classifier, arm, shown, model=model, probe=probe, replicate=replicate, part=part)
        steps = sum(phase.steps for phase in request.phases)
        work = float(steps * request.recipe.batch_size) * (request.part.until or 1.0)
        return add("ClassificationService/TrainClassifier", request, verb="train", about=about, work=work)

    def _request(
        self,
        classifier: Classifier,
        arm: Arm,
        shown: Shown | None,
        *,
        model: ClassifierModel,
        probe: Probe | None,
        replicate: int,
        part: ClassifierPart | None,
    ) -> TrainClassifierRequest:
        return TrainClassifierRequest(
            train=self._split("train"),
            validation=self._split("validation"),
            synthetic=shown.images if shown else None,
            model=model,
            phases=requests.training_phases(self._spec, classifier, arm),
            recipe=requests.training_recipe(classifier),
            seed=seed_of(self._spec, replicate),
            shuffle_synthetic_labels=arm.shuffled_labels,
            balance=shown.balance if shown else None,
            probe=probe,
            cap_per_label=requests.drawn_each_epoch(self._spec.dataset),
            part=part,
        )

    def _probe(
        self, classifier: Classifier, shown: Shown | None, *, network: str | None, add: Add | None
    ) -> Probe | None:
        if classifier.probe is None:
            return None

        def features(images: MemberRef, about: str) -> MemberRef:
            return self._networks.features(images, classifier, about=about, network=network, add=add)

        return Probe(
            train=features(self._split("train"), "train"),
            validation=features(self._split("validation"), "validation"),
            synthetic=features(shown.images, shown.about) if shown else None,
            l2=classifier.probe.l2,
        )

    def _split(self, name: str) -> MemberRef:
        return member_of(self._dataset, name)
