"""Reading what a trial left in the store, for the verdict and the report.

What belongs here: which blobs are read and what must agree between them. Called by `report.py`; everything after this
works on the dataclasses below and touches no store.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from syntrial.artifacts.store import MemberReader
from syntrial.documents.audit import Audit
from syntrial.documents.decisions import Decisions
from syntrial.documents.document import read
from syntrial.documents.projection import Projection
from syntrial.documents.quality import Quality
from syntrial.documents.reconstruction import Reconstruction
from syntrial.documents.search import NAME as DECISION
from syntrial.documents.search import Decision
from syntrial.documents.training import ClassifierTraining, Curves
from syntrial.imagesets.imageset import ImageSet, read_image_set
from syntrial.rpc.context import StepContext
from syntrial.stages import METHODS
from syntrial.v1.analysis_pb2 import Cell, SyntheticSummary, WriteReportRequest
from syntrial.v1.artifacts_pb2 import MemberRef

Json = dict[str, Any]
_D = TypeVar("_D")

PIPELINE = tuple(method.rpartition("/")[2] for method in METHODS)
"""Methods of all stages, in pipeline order."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ReplicateData:
    """One trained classifier."""

    seed: int
    generator: int
    training: ClassifierTraining
    scores_NK: NDArray[np.float64]  # noqa: N815
    training_key: str
    predictions_key: str


@dataclass(frozen=True, kw_only=True, slots=True)
class CellData:
    """One arm × classifier × synthetic set, with its replicates in the order of generator and seed."""

    name: str
    arm: str
    synthetic: str
    classifier: str
    replicates: tuple[ReplicateData, ...]

    @property
    def keys(self) -> list[str]:
        """The keys of its predictions."""
        return [replicate.predictions_key for replicate in self.replicates]

    @property
    def training_keys(self) -> list[str]:
        """The keys of its trainings."""
        return [replicate.training_key for replicate in self.replicates]

    @property
    def scores_JNK(self) -> NDArray[np.float64]:  # noqa: N802
        """The scores of all replicates."""
        return np.stack([replicate.scores_NK for replicate in self.replicates])


@dataclass(frozen=True, kw_only=True, slots=True)
class Keyed(Generic[_D]):
    """A document and the key of the step that wrote it."""

    key: str
    value: _D


@dataclass(frozen=True, kw_only=True, slots=True)
class Pictures:
    """Images and the key of the step that wrote them."""

    key: str
    images: ImageSet


@dataclass(frozen=True, kw_only=True, slots=True)
class ProjectionData:
    """Real, accepted and rejected images in two dimensions."""

    found: Keyed[Projection]
    coordinates_N2: NDArray[np.float64]  # noqa: N815
    kinds_N: NDArray[np.uint8]  # noqa: N815
    """Places in `KINDS`."""
    groups_N: NDArray[np.int64]  # noqa: N815
    """Each image's class; 0 where images have several labels."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PoolData:
    """Unlabelled images that a generator was trained on."""

    audit: Keyed[Audit]
    weight: float
    """How often each was shown for each time that a training image was."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SearchedData:
    """A classifier whose fields were searched."""

    classifier: str
    search: Keyed[Decision]
    replicates: int
    """Trainings of each trial, whose mean its figures are."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SnapshotData:
    """A generator at a moment of its training."""

    images_shown: int
    """By then, counted with repetition."""
    drawn: Pictures
    """By the same seed at each moment."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SyntheticData:
    """A synthetic set; one entry per generator replicate in each tuple."""

    name: str
    method: str
    proven_lineage: bool
    control: bool
    accepted: tuple[Pictures, ...]
    rejected: tuple[Pictures, ...]
    decisions: tuple[Keyed[Decisions], ...]
    quality: tuple[Keyed[Quality], ...]
    copies: NDArray[np.uint8] | None
    """Pairs (P, 2, H, W, C) of the first replicate: a synthetic image and the nearest training image."""
    curves: tuple[Keyed[Curves], ...]
    audit: Keyed[Audit] | None
    audit_pictures: NDArray[np.uint8] | None
    """Images (P, H, W, C) of its audit's findings, in order."""
    reconstructions: tuple[Keyed[Reconstruction], ...]
    """Of its generator's autoencoders; empty where it has none."""
    reconstructed: NDArray[np.uint8] | None
    """Pairs (P, 2, H, W, C) of the first replicate: a training image and its reconstruction."""
    projection: ProjectionData | None = None
    """Its first replicate in two dimensions; None where nobody asked."""
    search: Keyed[Decision] | None = None
    """What the search for its generator came to; None where there was none."""
    snapshots: tuple[SnapshotData, ...] = ()
    """Of the trial that was chosen, for each of its figures; empty where ends of trainings alone were compared."""
    rounds: tuple[int, ...] = ()
    """In how many its candidates were drawn; empty where they were imported."""
    pools: tuple[PoolData, ...] = ()
    """Unlabelled images that its generator was trained on beside the training split."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PretrainingData:
    """A data set that a classifier was pretrained with."""

    classifier: str
    audit: Keyed[Audit]


@dataclass(frozen=True, kw_only=True, slots=True)
class Source:
    """A step that led to the report, as its manifest tells it."""

    key: str
    method: str
    stage_version: int
    artifact_digest: str
    provenance: dict[str, str]


@dataclass(frozen=True, kw_only=True, slots=True)
class TrialData:
    """All that a report is made of."""

    request: WriteReportRequest
    classes: tuple[str, ...]
    task: str
    labels: NDArray[Any]
    """Test labels: int64 (N,) or uint8 (N, K)."""
    patients_N: NDArray[np.int64]  # noqa: N815
    cells: dict[str, CellData]
    audit: Keyed[Audit]
    audit_pairs: NDArray[np.uint8] | None
    """Pairs (P, 2, H, W, C) of leaked images."""
    audit_pictures: NDArray[np.uint8] | None
    """Images (P, H, W, C) of the audit's findings, in order."""
    train: Pictures
    synthetic: tuple[SyntheticData, ...]
    pretraining: tuple[PretrainingData, ...]
    """In the order of training, classifier by classifier."""
    searched: tuple[SearchedData, ...]
    """Classifiers, in the experiment's order."""
    sources: tuple[Source, ...]


class _Reader:
    """Opens members through the step's context and remembers the steps that they came from."""

    def __init__(self, context: StepContext) -> None:
        self._context = context
        self._sources: dict[str, Source] = {}

    @property
    def sources(self) -> tuple[Source, ...]:
        """Each step that led to what was read, in the order of the pipeline, then of first reading."""
        return tuple(sorted(self._sources.values(), key=lambda source: _stage_order(source.method)))

    def open(self, ref: MemberRef) -> MemberReader:
        self._context.check_cancelled()
        reader = self._context.open(ref)
        self._trace(ref.key)
        return reader

    def _trace(self, key: str) -> None:
        """Remembers a step after the steps that it read from."""
        manifest = None if key in self._sources else self._context.manifest(key)
        if manifest is None:
            return
        for before in sorted(manifest.input_keys):
            self._trace(before)
        self._sources[key] = Source(
            key=key,
            method=manifest.method.rpartition("/")[2],
            stage_version=manifest.stage_version,
            artifact_digest=manifest.artifact_digest,
            provenance=dict(manifest.provenance),
        )

    def document(self, kind: type[_D], ref: MemberRef, name: str) -> Keyed[_D]:
        return Keyed(key=ref.key, value=read(kind, self.open(ref), name))

    def pictures(self, ref: MemberRef) -> Pictures:
        return Pictures(key=ref.key, images=read_image_set(self.open(ref)))


def read_trial(request: WriteReportRequest, *, context: StepContext) -> TrialData:
    """Read every input of the request.

    Raises ValueError where cells were evaluated on different test images (labels or patients differ), where names of
    cells repeat or a comparison names an unknown one; ArtifactMissing and DataLoss from the store.
    """
    reader = _Reader(context)
    audit_reader = reader.open(request.audit)
    train = reader.pictures(request.train)
    names = [cell.name for cell in request.cells]
    _require_known(names, comparisons=[name for c in request.comparisons for name in (c.arm, c.control)])
    cells: dict[str, CellData] = {}
    truth: tuple[NDArray[Any], NDArray[np.int64]] | None = None
    for done, cell in enumerate(request.cells):
        cells[cell.name], truth = _read_cell(cell, reader=reader, truth=truth)
        context.progress(done + 1, total=len(request.cells), unit="cells", activity="reading predictions")
    if truth is None:
        raise ValueError("a report needs at least one cell")
    synthetic = tuple(_read_synthetic(summary, reader=reader) for summary in request.synthetic)
    return TrialData(
        request=request,
        classes=train.images.classes,
        task=train.images.task,
        labels=truth[0],
        patients_N=truth[1],
        cells=cells,
        audit=Keyed(key=request.audit.key, value=read(Audit, audit_reader, "audit.json")),
        audit_pairs=_optional_pairs(audit_reader, name="pairs.npy"),
        audit_pictures=_optional_pairs(audit_reader, name="findings.npy"),
        train=train,
        synthetic=synthetic,
        pretraining=tuple(
            PretrainingData(classifier=found.classifier, audit=reader.document(Audit, found.audit, "audit.json"))
            for found in request.pretraining
        ),
        searched=tuple(
            SearchedData(
                classifier=found.classifier,
                search=reader.document(Decision, found.search, DECISION),
                replicates=found.replicates,
            )
            for found in request.classifiers
        ),
        sources=reader.sources,
    )


def cell_labels(cells: Iterable[CellData]) -> dict[str, str]:
    """What readers see for each cell's name: the classifier is said only where there are several, and it alone where
    cells differ in nothing else.
    """
    cells = list(cells)
    several = len({cell.classifier for cell in cells}) > 1
    if several and len({(cell.arm, cell.synthetic) for cell in cells}) == 1:
        return {cell.name: cell.classifier for cell in cells}
    return {
        cell.name: f"{cell.arm}{f' with {cell.synthetic}' if cell.synthetic else ''}"
        f"{f', {cell.classifier}' if several else ''}"
        for cell in cells
    }


def _read_cell(
    cell: Cell, *, reader: _Reader, truth: tuple[NDArray[Any], NDArray[np.int64]] | None
) -> tuple[CellData, tuple[NDArray[Any], NDArray[np.int64]]]:
    replicates = []
    if not cell.replicates:
        raise ValueError(f"cell {cell.name!r} has no replicates")
    for replicate in cell.replicates:
        predictions = reader.open(replicate.predictions)
        found = np.asarray(predictions.array("labels.npy")), np.asarray(predictions.array("patients.npy"))
        truth = truth or found
        if not (np.array_equal(truth[0], found[0]) and np.array_equal(truth[1], found[1])):
            raise ValueError(f"cell {cell.name!r} was evaluated on other test images than the cells before it")
        replicates.append(
            ReplicateData(
                seed=replicate.seed,
                generator=replicate.generator,
                training=reader.document(ClassifierTraining, replicate.training, "training.json").value,
                scores_NK=np.asarray(predictions.array("scores.npy"), dtype=np.float64),
                training_key=replicate.training.key,
                predictions_key=replicate.predictions.key,
            )
        )
    assert truth is not None
    ordered = tuple(sorted(replicates, key=lambda replicate: (replicate.generator, replicate.seed)))
    data = CellData(
        name=cell.name, arm=cell.arm, synthetic=cell.synthetic, classifier=cell.classifier, replicates=ordered
    )
    return data, truth


def _read_synthetic(summary: SyntheticSummary, *, reader: _Reader) -> SyntheticData:
    return SyntheticData(
        name=summary.name,
        method=summary.method,
        proven_lineage=summary.proven_lineage,
        control=summary.control,
        accepted=_each(summary.accepted, reader.pictures),
        rejected=_each(summary.rejected, reader.pictures),
        decisions=tuple(reader.document(Decisions, ref, "decisions.json") for ref in summary.decisions),
        rounds=tuple(summary.rounds),
        quality=tuple(reader.document(Quality, ref, "quality.json") for ref in summary.quality),
        copies=_optional_pairs(reader.open(summary.quality[0]), name="copies.npy") if summary.quality else None,
        curves=tuple(reader.document(Curves, ref, "curves.json") for ref in summary.curves),
        audit=reader.document(Audit, summary.audit, "audit.json") if summary.HasField("audit") else None,
        audit_pictures=_optional_pairs(reader.open(summary.audit), name="findings.npy")
        if summary.HasField("audit")
        else None,
        reconstructions=tuple(
            reader.document(Reconstruction, ref, "reconstruction.json") for ref in summary.reconstructions
        ),
        reconstructed=_optional_pairs(reader.open(summary.reconstructions[0]), name="pairs.npy")
        if summary.reconstructions
        else None,
        projection=_projection(summary.projection, reader=reader) if summary.HasField("projection") else None,
        search=reader.document(Decision, summary.search, DECISION) if summary.HasField("search") else None,
        snapshots=tuple(
            SnapshotData(images_shown=one.images_shown, drawn=reader.pictures(one.images)) for one in summary.snapshots
        ),
        pools=tuple(
            PoolData(audit=reader.document(Audit, pool.audit, "audit.json"), weight=pool.weight)
            for pool in summary.unlabelled
        ),
    )


def _projection(ref: MemberRef, *, reader: _Reader) -> ProjectionData:
    member = reader.open(ref)
    return ProjectionData(
        found=reader.document(Projection, ref, "projection.json"),
        coordinates_N2=np.asarray(member.array("coordinates.npy"), dtype=np.float64),
        kinds_N=np.asarray(member.array("kinds.npy")),
        groups_N=np.asarray(member.array("groups.npy")),
    )


def _stage_order(method: str) -> int:
    return PIPELINE.index(method) if method in PIPELINE else len(PIPELINE)


def _each(refs: Iterable[MemberRef], read: Any) -> tuple[Pictures, ...]:
    return tuple(read(ref) for ref in refs)


def _optional_pairs(reader: MemberReader, *, name: str) -> NDArray[np.uint8] | None:
    if name not in reader.names():
        return None
    pairs = reader.array(name)
    return pairs if len(pairs) else None


def _require_known(names: Sequence[str], *, comparisons: Sequence[str]) -> None:
    repeated = sorted({name for name in names if list(names).count(name) > 1})
    if repeated:
        raise ValueError(f"cells have names of their own; repeated: {repeated}")
    unknown = sorted(set(comparisons) - set(names))
    if unknown:
        raise ValueError(f"comparisons name cells of the request; unknown: {unknown}")
