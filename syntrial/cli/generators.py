"""Generators, on this machine: conformance of one's own, and images drawn from a stored one."""

import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from syntrial.cli.laptop import on_this_machine
from syntrial.cli.options import (
    DEFAULT_STORE,
    HERE,
    Cores,
    PictureFormat,
    StoreOption,
    app,
    console,
)
from syntrial.counting import counted

Options = Annotated[
    list[str] | None,
    typer.Option("--option", help="NAME=VALUE of the generator's own; several times. Small ones make it quick."),
]


@app.command(rich_help_panel=HERE)
def conformance(
    folder: Annotated[Path, typer.Argument(help="A folder with generator.py and requirements.lock.")],
    option: Options = None,
) -> None:
    """Say whether a generator of your own keeps the stage's rules, and of each that it breaks, how."""
    import subprocess

    from syntrial.errors import UserError
    from syntrial.sources.digests import resolve_code
    from syntrial.stages import STAGES

    for text in option or ():
        if "=" not in text:
            raise UserError(field="--option", rule="is NAME=VALUE", received=text, remedy="Write, say, steps=10.")
    resolve_code(folder, field="FOLDER")
    # What runs code of a user's is the stage, which the platform does not import.
    command = [sys.executable, "-m", f"{STAGES['generation'].module}.conformance", str(folder), *(option or ())]
    sys.exit(subprocess.run(command, check=False).returncode)


@app.command(rich_help_panel=HERE)
def generate(  # noqa: PLR0917 - options of a command
    generator: Annotated[
        str,
        typer.Argument(
            metavar="GENERATOR",
            help="EXPERIMENT/SET: a set's generator, the one that its search chose where it has one; the training of a "
            "trial in the store, by its label or key; or a folder that `export --include generators` wrote.",
            show_default=False,
        ),
    ],
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A new or empty folder.", show_default=False)],
    count: Annotated[int, typer.Option("--number", "-n", help="Images of each class.", show_default=False)],
    classes: Annotated[
        list[str] | None,
        typer.Option(
            "--class",
            "-c",
            help="A class; several times. Of several labels, joined by +, or none. Default: every class.",
            show_default=False,
        ),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, max=2**53 - 1, help="Another seed draws other images.")] = 0,
    picture_format: PictureFormat = "png",
    code: Annotated[
        Path | None, typer.Option(help="Of a generator of your own: the folder of its code.", show_default=False)
    ] = None,
    store: StoreOption = DEFAULT_STORE,
    cores: Cores = None,
) -> None:
    """Draw images from a trained generator, and nothing else: the same seed gives the same images."""
    from syntrial.artifacts.store import open_store
    from syntrial.imagesets.layouts import chosen_layout
    from syntrial.trial.drawn import choose_generator, draw, wanted_of

    layout, opened = chosen_layout(picture_format), open_store(store)
    chosen = choose_generator(generator, code=code, store=opened)
    wanted = wanted_of(chosen, classes or (), count=count)
    with on_this_machine(opened.url, locations=dict(chosen.locations), cores=cores) as (executor, on_event):
        images = draw(
            chosen,
            wanted,
            seed=seed,
            out=folder,
            layout=layout,
            store=opened,
            executor=executor,
            on_event=on_event,
        )
    counts = zip(images.classes, images.class_counts.tolist(), strict=True)
    words = ", ".join(f"{name} {number:,}" for name, number in counts if number)
    console.print(Text(f"{folder}: {counted(len(images), 'image')}: {words or 'of no class'}"), soft_wrap=True)
