"""What sources of data an experiment names, each as one value; and the experiment with them named by their content.

Pure. Called by all that goes over an experiment's sources: `resolve`, the planner, and `syntrial submit`.
"""

import dataclasses
import hashlib
from collections.abc import Callable, Mapping
from typing import Any, Final, TypeVar

from pydantic.alias_generators import to_camel

from syntrial.artifacts.content import is_code
from syntrial.artifacts.keys import canonical_json, canonical_request
from syntrial.errors import UserError
from syntrial.experiment.base import ADDRESS, Model
from syntrial.experiment.classifiers import Classifier
from syntrial.experiment.dataset import SOURCES, Dataset, Pool, SourceFields
from syntrial.experiment.external import EXTERNAL
from syntrial.experiment.model import ALONE, Cluster, Experiment, Generator, Synthetic
from syntrial.experiment.synthetic import Initial, perceptual_of
from syntrial.sources.addresses import Address, HttpsAddress, HubAddress, LocalPath, StoredContent, parse_address
from syntrial.sources.published import published_weights
from syntrial.v1.data_preparation_pb2 import ClassMapping, Source, SplitRule

DATASET: Final = "dataset"
"""The name of the real data."""

WEIGHTS: Final = "weights"
"""The kind of a source that is a file of weights: those that a classifier begins with, an encoder's, or Inception's."""

LPIPS: Final = "lpips"
"""The kind of a source that is a file of the weights of a perceptual term, `syntrial.documents.lpips`."""

ENCODER: Final = "encoder"
"""The name of the source of the weights of an encoder's model."""

INCEPTION: Final = "inception"
"""The name of the source of the weights that FID and KID are taken by."""

CODE: Final = "code"
"""The kind of a source that is a folder with a generator of the user's own."""

GENERATOR: Final = "generator"
"""The kind of a source that is a folder with an exported generator, whose weights another begins with."""

POOLS: Final = "unlabelled/"
"""How the names of sources of unlabelled images begin."""

_Fields = TypeVar("_Fields", bound=SourceFields)


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class SourceRef:
    """A source that an experiment names, before its content is known."""

    name: str
    """Unique in the experiment; what the store's records call it: dataset, synthetic/NAME, code/NAME,
    unlabelled/NAME/NUMBER, initial/NAME, perceptual/NAME, encoder, inception, weights/NAME or chain/NAME/NUMBER."""
    field: str
    """What messages call it, for example spec.synthetic[0].images."""
    kind: str
    """A row of `syntrial.experiment.dataset.SOURCES`, WEIGHTS, LPIPS, CODE or GENERATOR."""
    address: str | None = None
    """As the user wrote it, or that of the model's published weights for `hub`; None where the source has none: it is
    downloaded or drawn."""
    secret: str | None = None
    """The Secret with the credentials of an s3:// address; None: on a cluster nobody's."""
    place: tuple[str | int, ...] = ()
    """The path in the experiment's tree to the value that is the address."""
    request: Source = dataclasses.field(default_factory=Source, hash=False)
    """As stages are asked for it, without its digest; of weights, code and generators, empty."""
    family: str = ""
    """Of a generator: that which it has to be of."""

    def located(self) -> Address | None:
        """What the address means. Raises UserError for one of no known form, and for images on the hub."""
        found = parse_address(self.address, field=self.field) if self.address is not None else None
        if isinstance(found, HubAddress) and self.kind not in {WEIGHTS, CODE}:
            raise UserError(
                field=self.field,
                rule="hub:// is for a classifier's `pretraining`",
                received=str(found),
                remedy="Bring the data to a folder, a bucket or a volume first.",
            )
        if self.kind == GENERATOR and isinstance(found, HttpsAddress):
            raise UserError(
                field=self.field,
                rule="a generator is a folder: a path, s3://, claim:// or sha256:HEX",
                received=str(found),
                remedy="Copy it here, or upload it: `syntrial upload PATH`.",
            )
        if self.kind == CODE and not isinstance(found, LocalPath | StoredContent):
            raise UserError(
                field=self.field,
                rule="code is a folder of this machine, or sha256:HEX",
                received=str(found),
                remedy="Copy it here, or upload it: `syntrial upload PATH`.",
            )
        return found

    @property
    def noted(self) -> str:
        """What is on record of an ingest: the address, and for a source that reads a part of what is there, which."""
        return noted(self.address or "", self.selection)

    @property
    def selection(self) -> str:
        """The request that says which files are read, in ProtoJSON; "" where all are."""
        kind = SOURCES.get(self.kind)
        return canonical_json(canonical_request(self.request)).decode() if kind is not None and kind.reads else ""

    @property
    def reads(self) -> Callable[[str], bool] | None:
        """Tells of a file's name whether the source may read it; None where it reads all that is there."""
        if self.kind == CODE:
            return is_code
        kind = SOURCES.get(self.kind)
        return kind.reads(self.request) if kind is not None and kind.reads is not None else None

    def with_digest(self, digest: str) -> Source:
        """The source as stages are asked for it, once the digest of its content is known."""
        resolved = Source()
        resolved.CopyFrom(self.request)
        resolved.digest = digest
        return resolved


def noted(address: str, selection: str) -> str:
    """An address with what is read of it, as `SourceRef.noted`."""
    return f"{address} {hashlib.sha256(selection.encode()).hexdigest()[:16]}" if selection else address


def synthetic_name(synthetic: Synthetic) -> str:
    """The name of the source of a ready-made set."""
    return f"synthetic/{synthetic.name}"


def code_name(synthetic: Synthetic) -> str:
    """The name of the source of a generator's code."""
    return f"code/{synthetic.name}"


def pool_name(synthetic: Synthetic, number: int) -> str:
    """The name of the source of a pool of a generator's unlabelled images, counted from 0."""
    return f"{POOLS}{synthetic.name}/{number + 1}"


def initial_name(synthetic: Synthetic) -> str:
    """The name of the source of the generator that a set's begins with."""
    return f"initial/{synthetic.name}"


def initial_of(generator: Generator | None) -> Initial | None:
    """The generator that a training begins with."""
    return getattr(generator.chosen, "initial", None) if generator is not None else None


def perceptual_name(synthetic: Synthetic) -> str:
    """The name of the source of the weights of a perceptual term of a generator's autoencoder."""
    return f"perceptual/{synthetic.name}"


def pools_of(generator: Generator | None) -> tuple[Pool, ...]:
    """The pools of unlabelled images that a generator is trained on."""
    return getattr(generator.chosen, "unlabelled", ()) if generator is not None else ()


def weights_name(classifier: Classifier) -> str:
    """The name of the source of a classifier's first weights."""
    return f"weights/{classifier.title}"


def chain_name(classifier: Classifier, link: int) -> str:
    """The name of the source of a link of a classifier's chain, counted from 0."""
    return f"chain/{classifier.title}/{link + 1}"


def sources_of(experiment: Experiment) -> tuple[SourceRef, ...]:
    """Every source that the experiment names, in its order: the data set, ready-made images, code, unlabelled images,
    generators to begin with, weights of perceptual terms, weights, data of chains.

    Raises UserError for `pretraining: hub` with a model that has no published weights.
    """
    spec = experiment.spec
    size = spec.dataset.size
    found = [_images(DATASET, spec.dataset, place=("spec", "dataset"), size=size)]
    found += [
        _images(synthetic_name(item), item.images, place=("spec", "synthetic", number, "images"), size=size)
        for number, item in enumerate(spec.synthetic)
        if item.images is not None
    ]
    found += [
        SourceRef(
            name=code_name(item), field=_words(place), kind=CODE, address=item.generator.external.code, place=place
        )
        for number, item in enumerate(spec.synthetic)
        if item.generator is not None and item.generator.kind == EXTERNAL and item.generator.chosen.code is not None
        for place in [("spec", "synthetic", number, "generator", EXTERNAL, "code")]
    ]
    for number, item in enumerate(spec.synthetic):
        for k, pool in enumerate(pools_of(item.generator)):
            assert item.generator is not None
            kind = to_camel(item.generator.kind)
            inside = ("spec", "synthetic", number, "generator", kind, "unlabelled", k)
            found.append(_images(pool_name(item, k), pool, place=inside, size=size))
        initial = initial_of(item.generator)
        if item.generator is not None and initial is not None and initial.folder is not None:
            of_initial = ("spec", "synthetic", number, "generator", to_camel(item.generator.kind), "initial", "folder")
            found.append(
                SourceRef(
                    name=initial_name(item),
                    field=_words(of_initial),
                    kind=GENERATOR,
                    address=initial.folder,
                    place=of_initial,
                    family=item.generator.kind,
                )
            )
        perceptual = perceptual_of(item.generator)
        if item.generator is not None and perceptual is not None:
            kind = to_camel(item.generator.kind)
            of_term = ("spec", "synthetic", number, "generator", kind, "autoencoder", "perceptual", "weights")
            found.append(
                SourceRef(
                    name=perceptual_name(item),
                    field=_words(of_term),
                    kind=LPIPS,
                    address=perceptual.weights,
                    place=of_term,
                )
            )
    # Without synthetic sets there is nothing to measure.
    if spec.encoder.network is not None and spec.synthetic:
        found.append(_weights(ENCODER, spec.encoder.network, place=("spec", "encoder", "pretraining")))
    if spec.inception is not None and spec.synthetic:
        found.append(
            SourceRef(
                name=INCEPTION,
                field="spec.inception",
                kind=WEIGHTS,
                address=spec.inception,
                place=("spec", "inception"),
            )
        )
    for number, classifier in enumerate(spec.classifiers):
        if classifier.pretraining != "none":
            place = ("spec", "classifiers", number, "pretraining")
            found.append(_weights(weights_name(classifier), classifier, place=place))
        for step, link in enumerate(classifier.chain):
            of_link = ("spec", "classifiers", number, "chain", step, "dataset")
            found.append(_images(chain_name(classifier, step), link.dataset, place=of_link, size=size))
    return tuple(found)


def _weights(name: str, classifier: Classifier, *, place: tuple[str | int, ...]) -> SourceRef:
    address, field = classifier.pretraining, _words(place)
    if address == "hub":
        address = str(published_weights(classifier.model, field=field))
    return SourceRef(name=name, field=field, kind=WEIGHTS, address=address, place=place)


def _images(name: str, fields: SourceFields, *, place: tuple[str | int, ...], size: int) -> SourceRef:
    kind = fields.kind
    message: dict[str, Any] = {kind: SOURCES[kind].request(fields, size)}
    return SourceRef(
        name=name,
        field=_words(place),
        kind=kind,
        address=fields.address,
        secret=fields.secret,
        place=(*place, kind) if isinstance(fields.chosen, str) else (*place, kind, ADDRESS),
        request=Source(**message),
    )


def _words(place: tuple[str | int, ...]) -> str:
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in place).removeprefix(".")


def class_mappings(fields: SourceFields) -> list[ClassMapping]:
    """The class map, sorted by the source's class so that the order in the file makes no difference."""
    return [ClassMapping(**{"from": source, "to": to or ""}) for source, to in sorted((fields.class_map or {}).items())]


def split_rule(dataset: Dataset) -> SplitRule:
    """How data without splits is split."""
    return SplitRule(validation=dataset.split.validation, test=dataset.split.test, seed=dataset.split.seed)


def _coded(item: Synthetic, digests: Mapping[str, str]) -> Synthetic:
    """The set with its generator's code named by its content, where it has code."""
    if item.generator is None or code_name(item) not in digests:
        return item
    external = item.generator.chosen.model_copy(update={"code": digests[code_name(item)]})
    return item.model_copy(update={"generator": item.generator.model_copy(update={EXTERNAL: external})})


def _pooled(item: Synthetic, by_content: Callable[[Pool, str], Pool]) -> Synthetic:
    """The set with its generator's unlabelled images named by their content, where it has any."""
    generator, pools = item.generator, pools_of(item.generator)
    if generator is None or not pools:
        return item
    named = tuple(by_content(pool, pool_name(item, number)) for number, pool in enumerate(pools))
    chosen = generator.chosen.model_copy(update={"unlabelled": named})
    return item.model_copy(update={"generator": generator.model_copy(update={generator.kind: chosen})})


def _begun(item: Synthetic, digests: Mapping[str, str]) -> Synthetic:
    """The set with the folder of the generator that its own begins with named by its content, where it has one."""
    if item.generator is None or initial_name(item) not in digests:
        return item
    kind, chosen = item.generator.kind, item.generator.chosen
    named = chosen.model_copy(update={"initial": Initial(folder=digests[initial_name(item)])})
    return item.model_copy(update={"generator": item.generator.model_copy(update={kind: named})})


def _compared(item: Synthetic, digests: Mapping[str, str]) -> Synthetic:
    """The set with the weights of its autoencoder's perceptual term named by their content, where it has one."""
    perceptual = perceptual_of(item.generator)
    if item.generator is None or perceptual is None:
        return item
    kind, chosen = item.generator.kind, item.generator.chosen
    named = perceptual.model_copy(update={"weights": digests[perceptual_name(item)]})
    autoencoder = chosen.autoencoder.model_copy(update={"perceptual": named})
    placed = chosen.model_copy(update={"autoencoder": autoencoder})
    return item.model_copy(update={"generator": item.generator.model_copy(update={kind: placed})})


def science_of(experiment: Experiment, sources: Mapping[str, Source]) -> Experiment:
    """The experiment without what says where and when it runs, its sources by content in place of their addresses.

    A report's key and bytes, and what is on record of a look, do not hang on the rest.
    """
    spec = experiment.spec
    digests = {ref.name: sources[ref.name].digest for ref in sources_of(experiment) if ref.address is not None}

    def by_content(fields: _Fields, name: str) -> _Fields:
        if name not in digests:
            return fields
        chosen = fields.chosen
        placed = chosen.model_copy(update={ADDRESS: digests[name]}) if isinstance(chosen, Model) else digests[name]
        return fields.model_copy(update={fields.kind: placed, "secret": None})

    changes: dict[str, Any] = {
        "suspend": False,
        "retention": "collect",
        "resources": ALONE,
        "cluster": Cluster(),
        "dataset": by_content(spec.dataset, DATASET),
        "synthetic": tuple(
            item.model_copy(update={"images": by_content(item.images, synthetic_name(item))})
            if item.images is not None
            else _compared(_begun(_pooled(_coded(item, digests), by_content), digests), digests)
            for item in spec.synthetic
        ),
        "encoder": spec.encoder.model_copy(update={"pretraining": digests[ENCODER]})
        if ENCODER in digests
        else spec.encoder,
        "inception": digests.get(INCEPTION, spec.inception),
        "classifiers": tuple(
            item.model_copy(
                update={
                    "pretraining": digests.get(weights_name(item), item.pretraining),
                    "chain": tuple(
                        link.model_copy(update={"dataset": by_content(link.dataset, chain_name(item, number))})
                        for number, link in enumerate(item.chain)
                    ),
                }
            )
            for item in spec.classifiers
        ),
    }
    return experiment.model_copy(update={"spec": spec.model_copy(update=changes)})
