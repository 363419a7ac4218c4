"""The networks that classifiers begin with, as steps: chains of pretraining, and the features that probes and encoders
need.

Called by the planner, whose part it is; pure, as that is.
"""

from collections.abc import Mapping
from typing import Any, Final, Protocol

from syntrial.experiment.classifiers import Classifier
from syntrial.experiment.model import Spec
from syntrial.plan import requests
from syntrial.plan.steps import Program, member_of
from syntrial.sources.named import DATASET, ENCODER, INCEPTION, chain_name, weights_name
from syntrial.v1.analysis_pb2 import PretrainingSummary
from syntrial.v1.artifacts_pb2 import MemberRef
from syntrial.v1.classification_pb2 import (
    ClassifierModel,
    ExtractFeaturesRequest,
    FileWeights,
    TrainClassifierRequest,
)
from syntrial.v1.data_preparation_pb2 import HeldOut, Source

SEEDS: Final = 2**53
"""As many as there are: whole numbers that JSON holds exactly."""

FIRST_OF_SEARCHES: Final = SEEDS // 2
"""From where the replicates of searches' trials are counted: their seeds are as far from those of cells as can be."""


class Add(Protocol):
    """Adds a step to the plan unless it is there, and returns its key."""

    def __call__(
        self,
        method: str,
        request: Any,
        *,
        verb: str,
        about: str,
        work: float = 0.0,
        program: Program = Program(),  # noqa: B008 - frozen
        waits_for: tuple[str, ...] = (),
    ) -> str:
        """`method` is without its package; `work` and `program` as of a `Step`.

        `waits_for` are keys of steps that come before it, though it reads nothing of them.
        """
        ...


class Networks:
    """The networks of one plan; links that classifiers share are one step."""

    def __init__(self, spec: Spec, sources: Mapping[str, Source], *, dataset: str, add: Add) -> None:
        """`dataset` is the key of the trial's prepared data."""
        self._spec, self._sources, self._dataset, self._add = spec, sources, dataset, add
        self._links: dict[tuple[int, int, int], tuple[Classifier, MemberRef]] = {}
        """By the classifier itself, link and replicate: trials of a search have its name, and may have other links."""
        self.pretraining: list[PretrainingSummary] = []
        """What the report says of each link's data."""

    def model(
        self,
        classifier: Classifier,
        *,
        links: int,
        replicate: int,
        about: str | None = None,
        add: Add | None = None,
    ) -> ClassifierModel:
        """The network with what it begins with: the last of the first `links` of its chain, or its weights.

        `about` is what its links are called after, by default the classifier; `add` is that of a search.
        """
        if links:
            begin = self._linked(classifier, links - 1, replicate=replicate, name=about, add=add or self._add)
            return requests.classifier_model(classifier, begin=begin)
        return self._begun(classifier, weights_name(classifier))

    def _begun(self, classifier: Classifier, name: str) -> ClassifierModel:
        """The network with the weights that are the source `name`, if any."""
        weights = self._sources.get(name)
        return requests.classifier_model(classifier, begin=FileWeights(digest=weights.digest) if weights else None)

    def _linked(self, classifier: Classifier, number: int, *, replicate: int, name: str | None, add: Add) -> MemberRef:
        """The network that a link of the chain, counted from 0, leads to."""
        link = classifier.chain[number]
        is_shared = link.replicates == "shared"
        replicate = 0 if is_shared else replicate
        place = (id(classifier), number, replicate)
        if place in self._links:
            return self._links[place][1]
        model = self.model(classifier, links=number, replicate=replicate, about=name, add=add)
        link_words = f"link {number + 1}/{len(classifier.chain)}"
        data = self._link_data(classifier, number, about=f"{classifier.title} {link_words}")
        about = f"{name or classifier.title} {link_words}"
        request = TrainClassifierRequest(
            train=member_of(data, "train"),
            validation=member_of(data, "validation"),
            model=model,
            phases=requests.link_phases(classifier, link),
            recipe=requests.link_recipe(classifier, link),
            seed=seed_of(self._spec, replicate),
            cap_per_label=requests.drawn_each_epoch(link.dataset),
        )
        steps = sum(phase.steps for phase in request.phases)
        trained = add(
            "ClassificationService/TrainClassifier",
            request,
            verb="pretrain",
            about=about if is_shared else f"{about} {_seed_words(replicate)}",
            work=float(steps * request.recipe.batch_size),
        )
        self._links[place] = classifier, member_of(trained, "classifier")
        return self._links[place][1]

    def _link_data(self, classifier: Classifier, number: int, *, about: str) -> str:
        """A link's data set, without what the trial's validation and test splits hold."""
        source = self._sources[chain_name(classifier, number)]
        request = requests.preparation(classifier.chain[number].dataset, source=source, form=self._spec.dataset)
        own = self._sources[DATASET]
        request.held_out.CopyFrom(
            HeldOut(
                validation=self._split("validation"),
                test=self._split("test"),
                same_source=(source.digest or source) == (own.digest or own),
            )
        )
        key = self._add("DataPreparationService/PrepareDataset", request, verb="prepare", about=f"{about} data")
        summary = PretrainingSummary(classifier=classifier.title, audit=member_of(key, "audit"))
        if summary not in self.pretraining:
            self.pretraining.append(summary)
        return key

    def features(
        self,
        images: MemberRef,
        classifier: Classifier,
        *,
        about: str,
        network: str | None = None,
        add: Add | None = None,
    ) -> MemberRef:
        """Those that a classifier's probe is fitted to: one step for all arms and replicates.

        `network` is what their network is called, by default the classifier; `add` is that of a search.
        """
        request = ExtractFeaturesRequest(
            images=images,
            model=self.model(classifier, links=len(classifier.chain), replicate=0, about=network, add=add),
            train=self._split("train") if requests.normalises_by_training(classifier) else None,
        )
        about = f"features of {about} for {network or classifier.title}"
        extracted = (add or self._add)("ClassificationService/ExtractFeatures", request, verb="extract", about=about)
        return member_of(extracted, "features")

    def encoder_features(self, images: MemberRef, *, about: str, add: Add | None = None) -> MemberRef | None:
        """Those that the encoder is given of images; None where it embeds images itself. `add` is that of a search."""
        encoder = self._spec.encoder
        network = encoder.network
        if network is None:
            return None
        # Published weights are for images of a side that their library knows; a file says nothing of the kind.
        usual = 0 if network.is_published else self._spec.dataset.size
        request = ExtractFeaturesRequest(
            images=images,
            model=self._begun(network, ENCODER),
            train=self._split("train") if requests.normalises_by_training(network) else None,
            side=ExtractFeaturesRequest.Side(pixels=encoder.size or usual),
        )
        about = f"features of {about} for the encoder"
        extracted = (add or self._add)("ClassificationService/ExtractFeatures", request, verb="extract", about=about)
        return member_of(extracted, "features")

    def inception_features(self, images: MemberRef, *, about: str) -> MemberRef | None:
        """Those that FID and KID are taken on; None where the experiment has no weights for them."""
        weights = self._sources.get(INCEPTION)
        if weights is None:
            return None
        request = ExtractFeaturesRequest(images=images, inception=FileWeights(digest=weights.digest))
        about = f"features of {about} for FID and KID"
        extracted = self._add("ClassificationService/ExtractFeatures", request, verb="extract", about=about)
        return member_of(extracted, "features")

    def _split(self, name: str) -> MemberRef:
        return member_of(self._dataset, name)


def seed_of(spec: Spec, replicate: int) -> int:
    """The seed of a replicate of classifiers."""
    return (spec.seed + replicate) % SEEDS


def _seed_words(replicate: int) -> str:
    """Which seed a link is trained by, that of a cell's replicate or of a search's."""
    of_search = replicate - FIRST_OF_SEARCHES
    return f"seed {replicate + 1}" if of_search < 0 else f"seed {of_search + 1} of the search"
