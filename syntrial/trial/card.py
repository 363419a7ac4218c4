"""The data card of a set of images that leaves the store: what it is, where it comes from, what is known against it.

`README.md` with the front matter that Hugging Face reads. Called by export and generate.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import yaml

from syntrial import __version__
from syntrial.counting import counted
from syntrial.imagesets.imageset import ImageSet
from syntrial.imagesets.layouts import Layout, source_words

HUB_NAMES: Final = {"CC BY 4.0": "cc-by-4.0", "CC BY-NC 4.0": "cc-by-nc-4.0"}
"""What Hugging Face calls the licences that data sets have here."""
NO_VERDICT: Final = "No trial has judged these images: whether they help a classifier is not known."
NOT_SEARCHED: Final = (
    "Not searched for copies of training images. Generators can give back what they were trained on: a trial searches."
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Card:
    """What a card says beside what the images say themselves."""

    title: str
    what: str
    """A sentence: what the images are."""
    lineage: Sequence[str]
    """Sentences: what made them, of what, by which artifacts."""
    verdict: str = NO_VERDICT
    copies: str = NOT_SEARCHED
    licence: str = ""
    """Of the real data that the generator saw; empty: not known."""


def write_card(card: Card, images: ImageSet, *, layout: Layout, place: Path) -> None:
    """Writes the card of images that were written to `place`: into their folder, or beside their file."""
    file = place.with_suffix(".md") if layout.suffix else place / "README.md"
    file.write_text(_text(card, images, layout=layout, path=place.name), encoding="utf-8")


def _text(card: Card, images: ImageSet, *, layout: Layout, path: str) -> str:
    head: dict[str, object] = {
        "license": HUB_NAMES.get(card.licence, "other"),
        "pretty_name": card.title,
        "task_categories": ["image-classification"],
        "tags": ["synthetic", "medical", "syntrial"],
    }
    if layout.hub:
        head["configs"] = [{"config_name": "default", "data_files": [{"split": "train", "path": "train/**"}]}]
    counts = [
        f"| {name} | {count:,} |" for name, count in zip(images.classes, images.class_counts.tolist(), strict=True)
    ]
    height, width, channels = images.images_NHWC.shape[1:]
    licence = (
        f"The real data that the generator was trained on has the licence {card.licence}."
        if card.licence
        else "That of the real data that the generator was trained on, which is not known here: look it up first."
    )
    source = source_words(layout, images, path)
    parts = [
        f"---\n{yaml.safe_dump(head, sort_keys=False, allow_unicode=True)}---",
        f"# {card.title}",
        card.what,
        f"{counted(len(images), 'image')}, {width} × {height} pixels, {'grey' if channels == 1 else 'in colour'}; "
        f"layout `{path}`: {layout.about}.",
        "| class | images |\n| --- | --- |\n" + "\n".join(counts),
        "## Verdict",
        card.verdict,
        "## Copies",
        card.copies,
        "## Lineage",
        "\n".join(f"- {line}" for line in card.lineage),
        "## Licence",
        licence,
        "## Back into Syntrial",
        f"```yaml\nimages:\n{_indented(source)}```",
        f"Written by Syntrial {__version__}.",
    ]
    return "\n\n".join(parts) + "\n"


def _indented(text: str) -> str:
    return "".join(f"  {line}\n" for line in text.splitlines())
