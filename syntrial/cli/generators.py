"""Generators of one's own, on this machine: conformance."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from syntrial.cli.options import HERE, app

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
