"""`syntrial explain`: what a network is made of, and each field of a classifier's training and of a generator."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table
from rich.text import Text

from syntrial.cli.laptop import on_this_machine
from syntrial.cli.options import CLASSIFIERS, DEFAULT_STORE, StoreOption, app, console

if TYPE_CHECKING:
    from syntrial.documents.parts import ModelParts
    from syntrial.experiment.explained import Explained

explain = typer.Typer(no_args_is_help=True, help="Say what a word of an experiment stands for.")
app.add_typer(explain, name="explain", rich_help_panel=CLASSIFIERS)


@explain.command()
def model(
    name: Annotated[str, typer.Argument(help="small-cnn, or the name of a timm model.", show_default=False)],
    size: Annotated[int, typer.Option(min=8, max=1024, help="Side of the images in pixels.")] = 224,
    depth: Annotated[int, typer.Option(min=1, max=2, help="2: also what the parts are made of.")] = 1,
    store: StoreOption = DEFAULT_STORE,
) -> None:
    """List the parts of a network by the names that `stages:` trains them by."""
    found = _described(name, side=size, store=store)
    stem = ", with the stem for small images" if found.small_stem else ""
    console.print(Text(f"{found.model}: {found.weights:,} weights at {size} pixels{stem}"), soft_wrap=True)
    table = Table("part", "made as", "weights", box=None, header_style="bold", pad_edge=False)
    for part in found.parts:
        if part.name.count(".") < depth:
            table.add_row(Text(part.name), Text(part.kind), f"{part.weights:,}")
    console.print(table)
    console.print(Text(f"head means {' and '.join(found.head)}"), soft_wrap=True)


@explain.command("classifier")
def explain_classifier(
    name: Annotated[
        str, typer.Argument(help="small-cnn, or the name of a timm model.", metavar="MODEL", show_default=False)
    ],
    store: StoreOption = DEFAULT_STORE,
) -> None:
    """List how a model is trained, field by field: what each means, takes, and has by the recipe of its family."""
    from syntrial.experiment.explained import explained_classifier
    from syntrial.sources.published import repositories

    if name.partition(".")[0] not in {"small-cnn", *repositories()}:
        # Only the stage knows the models of which no weights are published; it refuses what is none.
        _described(name, side=224, store=store)
    _show_fields(explained_classifier(name), values="recipe of its family")


@explain.command("generator")
def explain_generator(
    family: Annotated[
        str, typer.Argument(help="diffusion, gan, latentDiffusion or pca.", metavar="GENERATOR", show_default=False)
    ],
) -> None:
    """List a generator's fields as `tune.over` names them: what they mean, take, and have by preset."""
    from syntrial.experiment.explained import explained

    _show_fields(explained(family.removeprefix("generator.")), values="presets")


def _described(name: str, *, side: int, store: str) -> "ModelParts":
    """The parts of a network; raises UserError for one that there is not."""
    from syntrial.artifacts.store import open_store
    from syntrial.trial.networks import describe

    opened = open_store(store)
    with on_this_machine(opened.url, locations={}, cores=None) as (executor, on_event):
        return describe(name, side=side, store=opened, executor=executor, on_event=on_event)


def _show_fields(found: "Iterable[Explained]", *, values: str) -> None:
    """Prints each field with what it takes, what it means and, under the word `values`, what presets have for it."""
    for one in found:
        console.print(Text(one.field, style="bold"), Text(f" {one.takes}"), sep="", soft_wrap=True)
        if one.meaning:
            console.print(Text(f"  {one.meaning}"), soft_wrap=True)
        if one.presets:
            # As YAML writes them.
            told = {
                name: str(value).lower() if value is True or value is False else value
                for name, value in one.presets.items()
            }
            words = ", ".join(f"{name} {value}" for name, value in told.items())
            console.print(Text(f"  {values}: {words}"), soft_wrap=True)
