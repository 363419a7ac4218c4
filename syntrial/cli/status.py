"""The command `status`, of a trial here or there: shown once, or followed until nothing more happens."""

import sys
import time
from typing import TYPE_CHECKING, Annotated, Final

import typer
from rich.text import Text

from syntrial.cli.laptop import interruptible
from syntrial.cli.options import (
    ANYWHERE,
    DEFAULT_STORE,
    STORE_SECRET,
    Context,
    DataRoot,
    Endpoint,
    Namespace,
    Secret,
    StoreOption,
    Trial,
    app,
    console,
    errors,
)
from syntrial.cli.places import trial_at

if TYPE_CHECKING:
    from rich.console import RenderableType

    from syntrial.trial.handle import TrialHandle
    from syntrial.trial.status import TrialStatus

WATCH_SECONDS: Final = 2.0
"""Between looks at the status."""

FIRST_ANSWER_SECONDS: Final = 5.0
"""What pods get to say how far they are, where the status is shown once."""


@app.command(rich_help_panel=ANYWHERE)
def status(  # noqa: PLR0917 - options of a command
    trial: Trial,
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Go on looking until the trial is over.")] = False,
    rates: Annotated[bool, typer.Option(help="Ask running pods how fast they are.")] = True,
    store: StoreOption = DEFAULT_STORE,
    data_root: DataRoot = None,
    context: Context = None,
    namespace: Namespace = None,
    secret: Secret = STORE_SECRET,
    endpoint: Endpoint = None,
) -> None:
    """Show how far a trial is, what runs and how fast, what waits and why.

    With --watch the exit code is 1 where the trial ended without a verdict.
    """
    handle = trial_at(
        trial,
        store=store,
        data_root=data_root,
        context=context,
        namespace=namespace,
        secret=secret,
        endpoint=endpoint,
        rates=rates and (console.is_terminal or not watch),
    )
    with interruptible("the trial goes on; this only stopped looking"):
        found = handle.look()
        if not watch:
            console.print(_view(handle, found, patience=FIRST_ANSWER_SECONDS))
            return
        found = (_live if console.is_terminal else _lines)(handle, found)
        console.print(_view(handle, found))
    from syntrial.trial.status import SUCCEEDED

    if found.condition(SUCCEEDED) != "True":
        sys.exit(1)


def _live(handle: "TrialHandle", found: "TrialStatus") -> "TrialStatus":
    """Redraws the status in place until the trial is over."""
    from rich.live import Live

    with Live(console=console, auto_refresh=False, transient=True) as screen:
        while not found.is_over:
            until = time.monotonic() + WATCH_SECONDS
            while time.monotonic() < until:
                screen.update(_view(handle, found), refresh=True)
                time.sleep(0.25)
            found = _look_again(handle, found)
    return found


def _lines(handle: "TrialHandle", found: "TrialStatus") -> "TrialStatus":
    """For output that is no terminal: a line whenever counts or reasons change, until the trial is over."""
    from syntrial.cli.status_view import status_line

    before = ""
    while not found.is_over:
        line = status_line(found)
        if line != before:
            console.print(Text(line), soft_wrap=True)
            before = line
        time.sleep(WATCH_SECONDS)
        found = _look_again(handle, found)
    return found


def _look_again(handle: "TrialHandle", found: "TrialStatus") -> "TrialStatus":
    from syntrial.errors import ClusterUnavailable, StoreUnavailable

    try:
        return handle.look()
    except (ClusterUnavailable, StoreUnavailable) as error:
        # Somebody who watches for hours is not to be sent away by a restart of the API server.
        errors.print(Text(f"{error}; asking again", style="yellow"), soft_wrap=True)
        return found


def _view(handle: "TrialHandle", found: "TrialStatus", *, patience: float = 0.0) -> "RenderableType":
    from syntrial.cli.status_view import status_view

    return status_view(found, running=handle.running(patience=patience), spelling=handle.spelling)
