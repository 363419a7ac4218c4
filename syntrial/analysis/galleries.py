"""The report's pictures of images: real beside synthetic, what was rejected and why, copies and leaks.

What belongs here: which images stand in which strip. How they are chosen and encoded is in `pictures.py`.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from syntrial.analysis.charts import number as plain
from syntrial.analysis.pictures import choose, members, pair_strip, strip
from syntrial.analysis.reading import Pictures, SyntheticData, TrialData
from syntrial.counting import counted
from syntrial.documents.reconstruction import Loss, Reconstruction
from syntrial.experiment.filters import FILTERS

PER_STRIP = 12
"""Images in a strip."""
PAIRS = 12
"""Pairs in a strip of copies or leaks."""
SHOWN_WIDTH = 70
"""Width in CSS pixels at which an image of a strip is shown."""


REASONS = {
    **{name: kind.rejected for name, kind in FILTERS.items()},
    "random": "left out at random",
    "copy": "possible copy",
    "surplus": "passed, not needed",
}
"""What the reasons for rejection are called; those not named here are shown as they are."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Strip:
    """A row of images with its name."""

    name: str
    detail: str
    address: str
    """PNG data address."""
    images: int
    alternative: str

    @property
    def width(self) -> int:
        """Width on the page, in CSS pixels."""
        return self.images * SHOWN_WIDTH


@dataclass(frozen=True, kw_only=True, slots=True)
class Gallery:
    """Strips under one heading."""

    id: str
    title: str
    strips: tuple[Strip, ...]
    keys: tuple[str, ...]


def class_galleries(data: TrialData) -> list[Gallery]:
    """For each class a strip of real training images above one of each synthetic set; equal numbers, seeded choice.

    Sets that are controls by their choice of images (random selection) show nothing new and are left out.
    """
    shown = [s for s in data.synthetic if s.accepted and not (s.control and not s.quality)]
    galleries = []
    for index, name in enumerate(data.classes):
        sources = [("real", "training split", data.train)]
        sources += [(s.name, "baseline" if s.control else s.method, s.accepted[0]) for s in shown]
        strips = [
            found
            for title, detail, pictures in sources
            if (found := _class_strip(pictures, class_index=index, name=title, detail=detail, class_name=name))
        ]
        keys = tuple(dict.fromkeys(pictures.key for _, _, pictures in sources))
        if strips:
            galleries.append(Gallery(id=f"class-{index}", title=name, strips=tuple(strips), keys=keys))
    return galleries


def rejected_galleries(data: TrialData) -> list[Gallery]:
    """For each synthetic set a strip of each reason for which images were rejected."""
    galleries = []
    for number, synthetic in enumerate(data.synthetic):
        strips = tuple(_rejected_strips(synthetic))
        # A control that selects at random shows the images of the set beside it again.
        if strips and not (synthetic.control and not synthetic.quality):
            keys = tuple(pictures.key for pictures in synthetic.rejected[:1])
            galleries.append(Gallery(id=f"rejected-{number}", title=synthetic.name, strips=strips, keys=keys))
    return galleries


def copy_gallery(data: TrialData) -> Gallery | None:
    """For each synthetic set the images nearest to a training image, above that training image."""
    sets = [synthetic for synthetic in data.synthetic if synthetic.copies is not None]
    strips = tuple(
        _pairs(synthetic.copies, name=synthetic.name, detail="synthetic above, training image below")
        for synthetic in sets
        if synthetic.copies is not None
    )
    keys = tuple(synthetic.quality[0].key for synthetic in sets)
    return Gallery(id="copies", title="Nearest to a training image", strips=strips, keys=keys) if strips else None


def reconstruction_gallery(data: TrialData) -> Gallery | None:
    """For each synthetic set made in an autoencoder's latents, training images above what it makes of them."""
    sets = [synthetic for synthetic in data.synthetic if synthetic.reconstructed is not None]
    strips = tuple(
        _pairs(
            synthetic.reconstructed,
            name=synthetic.name,
            detail=f"training image above, reconstruction below; {_lost(synthetic.reconstructions[0].value)}",
        )
        for synthetic in sets
        if synthetic.reconstructed is not None
    )
    keys = tuple(synthetic.reconstructions[0].key for synthetic in sets)
    title = "Training images through the autoencoder"
    return Gallery(id="reconstructions", title=title, strips=strips, keys=keys) if strips else None


def _lost(found: Reconstruction) -> str:
    def words(loss: Loss) -> str:
        psnr = "no loss" if loss.psnr is None else f"{loss.psnr:.1f} dB"
        return f"{psnr}, {loss.l1:.1f} grey levels off, {loss.bytes:.0f} bytes"

    beside = f"a JPEG of quality {found.jpeg.quality}: {words(found.jpeg)}"
    return f"{words(found.latents)}; {beside}"


def snapshot_galleries(data: TrialData) -> dict[str, Gallery]:
    """By the name of a set whose search chose among snapshots, a strip for each: the same items of every class.

    They are the first that were drawn of each class, so that the seeds in a column are the same in all strips.
    """
    galleries: dict[str, Gallery] = {}
    known: set[str] = set()
    for synthetic in data.synthetic:
        # A random control has the search of the set beside it.
        if not synthetic.snapshots or synthetic.search is None or synthetic.search.key in known:
            continue
        known.add(synthetic.search.key)
        decision = synthetic.search.value
        assert decision.best is not None
        best = decision.trials[decision.best]
        each = max(1, PER_STRIP // len(data.classes))
        strips = []
        words: list[str] = []
        for part, (snapshot, figure) in enumerate(zip(synthetic.snapshots, best.figures, strict=True)):
            images = snapshot.drawn.images
            labels = np.asarray(images.labels)
            by_class = {name: members(labels, class_index=k)[:each] for k, name in enumerate(images.classes)}
            words = [f"{len(found)} {name}" for name, found in by_class.items() if len(found)]
            rows = [int(row) for found in by_class.values() for row in found]
            shown = f"{plain(snapshot.images_shown)} images shown"
            strips.append(
                Strip(
                    name=shown,
                    detail=f"{figure:.4f}{', chosen' if part == best.part else ''}",
                    address=strip([images.images_NHWC[row] for row in rows]),
                    images=len(rows),
                    alternative=f"{counted(len(rows), 'image')} drawn after {shown}",
                )
            )
        galleries[synthetic.name] = Gallery(
            id=f"snapshots-{len(galleries)}",
            title=f"Trial {best.number} along its training, from the left {', '.join(words)}",
            strips=tuple(strips),
            keys=tuple(snapshot.drawn.key for snapshot in synthetic.snapshots),
        )
    return galleries


def leak_gallery(data: TrialData) -> Gallery | None:
    """Pairs of images that stand on both sides of a split."""
    if data.audit_pairs is None:
        return None
    told = [picture.what for picture in data.audit.value.pictures]
    strips = tuple(
        _pairs(data.audit_pairs[[row for row, what in enumerate(told) if what == kind]], name=kind, detail="")
        for kind in dict.fromkeys(told)
    )
    return Gallery(id="leaks", title="Images on both sides", strips=strips, keys=(data.audit.key,))


def finding_gallery(data: TrialData) -> Gallery | None:
    """A strip for each finding of the audits that images show: of the data set, then of imported sets."""
    audits = [("", data.audit, data.audit_pictures)]
    audits += [(s.name, s.audit, s.audit_pictures) for s in data.synthetic if s.audit is not None]
    strips: list[Strip] = []
    keys: list[str] = []
    for name, audit, pictures in audits:
        if audit is None or pictures is None:
            continue
        keys.append(audit.key)
        start = 0
        for finding in audit.value.findings:
            shown = pictures[start : start + finding.pictures][:PER_STRIP]
            start += finding.pictures
            if len(shown):
                title = f"{finding.about} and {finding.against}"
                strips.append(
                    Strip(
                        name=f"{name}: {title}" if name else title,
                        detail=finding.grade,
                        address=strip(list(shown)),
                        images=len(shown),
                        alternative=f"Shown by {counted(len(shown), 'image')}: {finding.words}",
                    )
                )
    return (
        Gallery(id="findings", title="What tells too much", strips=tuple(strips), keys=tuple(keys)) if strips else None
    )


def _class_strip(pictures: Pictures, *, class_index: int, name: str, detail: str, class_name: str) -> Strip | None:
    candidates = members(np.asarray(pictures.images.labels), class_index=class_index)
    chosen = choose(candidates, count=PER_STRIP, seed=f"{name}/{class_name}")
    if not chosen:
        return None
    return Strip(
        name=name,
        detail=detail,
        address=strip([pictures.images.images_NHWC[index] for index in chosen]),
        images=len(chosen),
        alternative=f"{counted(len(chosen), 'image')} of class {class_name} from {name}",
    )


def _rejected_strips(synthetic: SyntheticData) -> Iterator[Strip]:
    if not synthetic.rejected:
        return
    images = synthetic.rejected[0].images
    reasons = np.asarray(images.origins.get("reason", []))
    counts = synthetic.decisions[0].value.rejected
    for reason in sorted(set(reasons.tolist())):
        chosen = choose(np.flatnonzero(reasons == reason), count=PER_STRIP, seed=f"{synthetic.name}/{reason}")
        yield Strip(
            name=REASONS.get(reason, reason),
            detail=counted(counts[reason], "image"),
            address=strip([images.images_NHWC[index] for index in chosen]),
            images=len(chosen),
            alternative=f"{counted(len(chosen), 'image')} of {synthetic.name} rejected for {reason}",
        )


def _pairs(pairs_P2HWC: NDArray[np.uint8], *, name: str, detail: str) -> Strip:
    shown: Sequence[int] = range(min(len(pairs_P2HWC), PAIRS))
    return Strip(
        name=name,
        detail=detail,
        address=pair_strip(pairs_P2HWC[list(shown)]),
        images=len(shown),
        alternative=f"{counted(len(shown), 'pair')} of {name}",
    )
