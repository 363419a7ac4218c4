"""Commands on one classifier, on this machine: evaluate, predict and convert."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table
from rich.text import Text

from syntrial.cli.laptop import on_this_machine
from syntrial.cli.options import (
    CLASSIFIERS,
    DEFAULT_STORE,
    Cores,
    DataRoot,
    StoreOption,
    app,
    console,
    errors,
)
from syntrial.counting import counted

if TYPE_CHECKING:
    from syntrial.artifacts.store import ArtifactStore
    from syntrial.executors.executor import Event
    from syntrial.executors.local import LocalExecutor
    from syntrial.trial.chosen import ChosenClassifier, ChosenData
    from syntrial.trial.shown import Shown


@dataclass(frozen=True, kw_only=True, slots=True)
class _Chosen:
    """A classifier, data, and what it takes to show it the data."""

    classifier: "ChosenClassifier"
    data: "ChosenData"
    store: "ArtifactStore"
    executor: "LocalExecutor"
    on_event: "Callable[[Event], None]"


Classifier = Annotated[
    str,
    typer.Argument(
        metavar="CLASSIFIER",
        help="The training of a trial in the store, by its label or key, or a folder with weights.safetensors and "
        "classifier.json.",
        show_default=False,
    ),
]
Data = Annotated[
    str | None,
    typer.Argument(
        metavar="DATA",
        help="An experiment's file (its dataset), medmnist:NAME, an .npz file, or a folder or archive of images; "
        "default: the data set that the classifier was trained on.",
        show_default=False,
    ),
]
Split = Annotated[
    str | None,
    typer.Option(
        help="validation, test or all; default: validation of the classifier's own data set, test of other data, or "
        "all where it has no splits.",
        show_default=False,
    ),
]


@app.command(rich_help_panel=CLASSIFIERS)
def evaluate(  # noqa: PLR0917 - options of a command
    classifier: Classifier,
    data: Data = None,
    split: Split = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
    store: StoreOption = DEFAULT_STORE,
    data_root: DataRoot = None,
    cores: Cores = None,
) -> None:
    """Evaluate one classifier on images with labels: metrics with intervals over patients. No trial, no verdict."""
    from syntrial.trial.shown import figures

    shown = _show(classifier, data, split=split, store=store, data_root=data_root, cores=cores)
    found, reasons = figures(shown)
    patients = len(set(shown.patients_N.tolist()))
    notes = [*reasons, *shown.notes]
    if as_json:
        tree = {
            "classifier": classifier,
            "data": data,
            "splits": shown.splits,
            "images": len(shown.images),
            "patients": patients,
            "patients_known": shown.patients_known,
            "classes": shown.classes,
            "metrics": {one.name: {"value": one.value, "interval_95": one.interval_95} for one in found},
            "look": shown.look,
            "notes": notes,
            "predictions": shown.keys,
        }
        # Not by the console, which breaks long lines.
        typer.echo(json.dumps(tree, indent=1))
        return
    count = f"{counted(len(shown.images), 'image')}, {counted(patients, 'patient')}"
    console.print(Text(f"{classifier} on {', '.join(shown.splits)}: {count}"), soft_wrap=True)
    table = Table("metric", "value", "95% interval", box=None, header_style="bold", pad_edge=False)
    for one in found:
        interval = one.interval_95
        words = f"{interval[0]:.4f} to {interval[1]:.4f}" if interval else "none: the patients do not differ"
        table.add_row(one.words, f"{one.value:.4f}", words)
    console.print(table)
    for note in notes:
        console.print(Text(f"· {note}"), soft_wrap=True)


@app.command(rich_help_panel=CLASSIFIERS)
def predict(  # noqa: PLR0917 - options of a command
    classifier: Classifier,
    data: Annotated[str, typer.Argument(metavar="DATA", help="As of evaluate.", show_default=False)],
    out: Annotated[Path, typer.Argument(metavar="OUT.csv", help="Is written, or replaced.", show_default=False)],
    split: Split = None,
    store: StoreOption = DEFAULT_STORE,
    data_root: DataRoot = None,
    cores: Cores = None,
) -> None:
    """Write the scores of one classifier as CSV: a row for each image, under its pseudonym, a column for each class."""
    from syntrial.trial.export import csv_text, write_whole
    from syntrial.trial.shown import rows

    shown = _show(classifier, data, split=split, store=store, data_root=data_root, cores=cores)
    write_whole(out, csv_text(rows(shown)).encode())
    console.print(Text(f"{out}: {counted(len(shown.images), 'image')} of {', '.join(shown.splits)}"), soft_wrap=True)
    for note in shown.notes:
        errors.print(Text(f"· {note}"), soft_wrap=True)


@app.command(rich_help_panel=CLASSIFIERS)
def convert(  # noqa: PLR0917 - options of a command
    classifier: Classifier,
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Where the files go.", show_default=False)],
    form: Annotated[str, typer.Option("--to", help="onnx, or timm: a folder that timm.create_model loads.")] = "onnx",
    data: Annotated[
        str | None,
        typer.Option(
            help="Images to compare both on, as of evaluate; default: the classifier's own.", show_default=False
        ),
    ] = None,
    store: StoreOption = DEFAULT_STORE,
    data_root: DataRoot = None,
    cores: Cores = None,
) -> None:
    """Write one classifier for other programs, once its scores there are the original's on real images."""
    from syntrial.trial import networks

    with _chosen(classifier, data, store=store, data_root=data_root, cores=cores) as found:
        done = networks.convert(
            found.classifier,
            found.data,
            form=form,
            out=folder,
            store=found.store,
            executor=found.executor,
            on_event=found.on_event,
        )
    for file in done.files:
        console.print(Text(str(file)), soft_wrap=True)
    words = f"compared on {done.images} images: probabilities differ by at most {done.largest_difference:.2g}"
    console.print(Text(words), soft_wrap=True)


def _show(
    classifier: str, data: str | None, *, split: str | None, store: str, data_root: Path | None, cores: int | None
) -> "Shown":
    from syntrial.trial.shown import show_images

    with _chosen(classifier, data, store=store, data_root=data_root, cores=cores) as found:
        return show_images(
            found.classifier,
            found.data,
            split=split,
            store=found.store,
            executor=found.executor,
            on_event=found.on_event,
        )


@contextmanager
def _chosen(
    classifier: str, data: str | None, *, store: str, data_root: Path | None, cores: int | None
) -> "Iterator[_Chosen]":
    """What the words mean, and an executor that may read it."""
    from syntrial.artifacts.store import open_store
    from syntrial.trial.chosen import choose_classifier, choose_data

    opened = open_store(store)
    chosen = choose_classifier(classifier, store=opened)
    images = choose_data(data, classifier=chosen, store=opened, data_root=data_root)
    locations = {**images.locations, **chosen.locations}
    with on_this_machine(opened.url, locations=locations, cores=cores) as (executor, on_event):
        yield _Chosen(classifier=chosen, data=images, store=opened, executor=executor, on_event=on_event)
