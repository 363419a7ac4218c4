"""The image sets of a trial as files: accepted synthetic images, and real and synthetic ones mixed by percentage.

Each with its data card. A real image leaves in a mixed set alone, under its pseudonym if it has one. Called by export.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from syntrial.artifacts.store import ArtifactStore
from syntrial.counting import counted
from syntrial.documents.decisions import Decisions
from syntrial.documents.document import read
from syntrial.errors import ArtifactMissing, UserError
from syntrial.experiment.file import parse_experiment
from syntrial.imagesets.files import file_name
from syntrial.imagesets.imageset import MULTI_LABEL, ImageSet, read_image_set
from syntrial.imagesets.layouts import Layout
from syntrial.sources.medmnist import MEDMNIST
from syntrial.trial.card import NO_VERDICT, NOT_SEARCHED, Card, write_card
from syntrial.trial.record import TrialRecord
from syntrial.v1.artifacts_pb2 import MemberRef

_FILTER: Final = "syntrial.v1.FilteringService/FilterImages"
REAL: Final = "real"
SYNTHETIC: Final = "synthetic"


@dataclass(frozen=True, kw_only=True, slots=True)
class Mix:
    """Shares of a mixed set, in percent; together 100."""

    real: int
    synthetic: int


def chosen_mix(text: str | None) -> Mix | None:
    """The shares that a user writes as REAL:SYNTHETIC; raises UserError for others."""
    if text is None:
        return None
    found = re.fullmatch(r"(\d{1,3}):(\d{1,3})", text.strip(), re.ASCII)
    mix = Mix(real=int(found[1]), synthetic=int(found[2])) if found else None
    if mix is None or mix.real + mix.synthetic != 100 or 0 in {mix.real, mix.synthetic}:
        raise UserError(
            field="--mix",
            rule="is REAL:SYNTHETIC in percent of the mixed set, two whole numbers above 0 that add up to 100",
            received=text,
            remedy="Write, say, 70:30. `--include images` alone exports synthetic images.",
        )
    return mix


@dataclass(frozen=True, kw_only=True, slots=True)
class Sets:
    """The sets of a trial, to be written in a layout."""

    trial: TrialRecord
    name: str
    """The trial's."""
    store: ArtifactStore
    layout: Layout
    verdict: str = NO_VERDICT
    on_file: Callable[[str], None]

    def write(self, folder: Path) -> int:
        """Writes the accepted images of each synthetic set; returns how many."""
        count = 0
        for key, name, images in self._accepted():
            what = f"Synthetic images of the set `{name}` of the trial `{self.name}`: those that its filters accepted."
            self._write(images, folder, key=key, name=name, what=what, lineage=[])
            count += len(images)
        return count

    def write_mixed(self, folder: Path, mix: Mix) -> int:
        """Writes each set mixed with the training split; returns how many images. Raises UserError as `mixed_set`."""
        count = 0
        for key, name, images in self._accepted():
            train = self.trial.manifests[key].request["train"]
            real = read_image_set(self.store.open(MemberRef(key=train["key"], member=train["member"])))
            mixed = mixed_set(real, images, mix=mix, name=name)
            share = [f"{mix.real} % real training images, {mix.synthetic} % of the synthetic set `{name}`"]
            what = (
                f"A mixed set of the trial `{self.name}`: {share[0]}. The column `origin origin` says which is which."
            )
            line = f"real images: the training split, artifact `{train['key']}`. They are of patients: treat them so."
            self._write(mixed, folder, key=key, name=name, what=what, lineage=[line])
            count += len(mixed)
        return count

    def _accepted(self) -> Iterator[tuple[str, str, ImageSet]]:
        for key in self.trial.keys_of(_FILTER):
            if "accepted" not in self.trial.manifests[key].members:
                # A round that left too few: what the set is made of is the last one's.
                continue
            images = read_image_set(self.store.open(MemberRef(key=key, member="accepted")))
            yield key, file_name(self.trial.about[key]), images

    def _write(self, images: ImageSet, folder: Path, *, key: str, name: str, what: str, lineage: list[str]) -> None:
        place = folder / f"{name}{self.layout.suffix}"
        self.on_file(f"{folder.name}/{place.name}: {len(images)}")
        folder.mkdir(exist_ok=True)
        self.layout.write(images, place)
        made_by = sorted({str(value) for value in images.origins.get("generator", ()) if value})
        card = Card(
            title=f"{self.name}: {name}",
            what=what,
            lineage=[
                *lineage,
                f"synthetic images: accepted by artifact `{key}`",
                *(f"drawn by generator `{one}`" for one in made_by),
            ],
            verdict=self.verdict,
            copies=self._copies(key),
            licence=self._licence(),
        )
        write_card(card, images, layout=self.layout, place=place)

    def _copies(self, key: str) -> str:
        try:
            found = read(Decisions, self.store.open(MemberRef(key=key, member="decisions")), "decisions.json").copies
        except ArtifactMissing:
            return NOT_SEARCHED
        if not found.searched:
            return NOT_SEARCHED
        fate = "They are not among these images." if found.removed else "They are among these images."
        return (
            f"{counted(found.searched, 'candidate')} searched for copies of training images: {found.count:,} possible "
            f"ones found, {found.exact:,} of them equal to the pixel. {fate if found.count else ''}"
        ).strip()

    def _licence(self) -> str:
        data = self.store.experiment_file(self.trial.uid, "experiment.yaml")
        try:
            named = parse_experiment((data or b"").decode()).spec.dataset.medmnist
        except UserError:
            return ""
        return MEDMNIST[named].licence if named in MEDMNIST else ""


def mixed_set(real: ImageSet, synthetic: ImageSet, *, mix: Mix, name: str) -> ImageSet:
    """As many real images as the synthetic ones allow, of each class the same share, and the synthetic ones to them.

    Where not all real images find room, which do is drawn (seed 0); of the synthetic ones the first are taken. Columns
    of origins: "origin" (real or synthetic), "image" (a pseudonym, or a number), "patient", "generator". Raises
    UserError where a class has no synthetic image.
    """
    several = real.task == MULTI_LABEL
    groups = [np.ones(len(real), bool)] if several else [real.labels == k for k in range(len(real.classes))]
    others = [np.ones(len(synthetic), bool)] if several else [synthetic.labels == k for k in range(len(real.classes))]
    counts = [(int(own.sum()), int(other.sum())) for own, other in zip(groups, others, strict=True)]
    ratio = mix.synthetic / mix.real
    fraction = min((min(1.0, made / (ratio * count)) for count, made in counts if count), default=0.0)
    random = np.random.default_rng(0)
    taken: list[NDArray[np.int64]] = []
    drawn: list[NDArray[np.int64]] = []
    for own, other, (count, made) in zip(groups, others, counts, strict=True):
        keep = int(count * fraction + 1e-9)
        taken.append(np.sort(random.permutation(np.flatnonzero(own))[:keep]))
        drawn.append(np.flatnonzero(other)[: min(made, round(keep * ratio))])
    rows, columns = np.concatenate(taken), np.concatenate(drawn)
    if not len(rows) or not len(columns):
        raise UserError(
            field="--mix",
            rule="each class has real and synthetic images enough for one of each",
            received=f"{name}: "
            + ", ".join(
                f"{label} {count} real, {made} synthetic"
                for label, (count, made) in zip(real.classes if not several else ("all",), counts, strict=True)
            ),
            remedy="Draw more of the rare classes (`balance: uniform`), or choose other shares.",
        )
    own, made_of = real.take(rows), synthetic.take(columns)

    def column(images: ImageSet, *names: str) -> list[str]:
        found = next((images.origins[one] for one in names if one in images.origins), [""] * len(images))
        return [str(value) for value in found]

    return ImageSet(
        images_NHWC=np.concatenate([own.images_NHWC, made_of.images_NHWC]),
        labels=np.concatenate([own.labels, made_of.labels]),
        classes=real.classes,
        task=real.task,
        origins={
            "origin": [REAL] * len(own) + [SYNTHETIC] * len(made_of),
            "image": column(own, "file", "index") + column(made_of, "index", "file"),
            "patient": column(own, "patient") + [""] * len(made_of),
            "generator": [""] * len(own) + column(made_of, "generator"),
        },
    )


def verdict_words(report: dict[str, Any] | None) -> str:
    """What a card says of a trial's verdict."""
    if report is None:
        return NO_VERDICT
    found = report["verdict"]
    doubts = [f"- {one['words']}" for one in report.get("qualifications", ()) if one["severity"] == "serious"]
    return f"**{str(found['outcome']).capitalize()}.** {found['words']}" + "".join(f"\n{line}" for line in doubts)
