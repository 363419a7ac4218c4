"""What the command line does about MLflow, and says of it: no trial fails for its sake."""

from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from rich.text import Text

from syntrial.cli.options import console, errors
from syntrial.counting import counted

if TYPE_CHECKING:
    from syntrial.artifacts.store import ArtifactStore
    from syntrial.executors.executor import Event
    from syntrial.tracking.following import Follower
    from syntrial.tracking.sending import Sent

_FIRST_WORD_SECONDS: Final = 5.0
"""What a server gets to answer before a run begins."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Tracking:
    """Where a run is shown."""

    address: str
    spelling: str
    """What `syntrial track` takes to mean the trial."""


@contextmanager
def tracked(
    tracking: Tracking | None, *, store: "ArtifactStore", name: str, uid: str
) -> "Iterator[tuple[Callable[[Event], None], Callable[[], None]]]":
    """A trial's run, shown in MLflow where that is asked: whom to tell of events, and what to call after the block."""
    if tracking is None:
        yield lambda _event: None, lambda: None
        return
    from syntrial.executors.executor import StepFailed, StepSucceeded
    from syntrial.tracking.following import Follower

    _greet(tracking, name=name)
    with Follower(tracking.address, store=store, name=name, uid=uid) as follower:

        def tell(event: "Event") -> None:
            if isinstance(event, StepSucceeded | StepFailed):
                follower.tell()

        yield tell, lambda: _finish(follower, tracking)


def print_sent(sent: "Sent") -> None:
    """Says where a trial is shown, and what could not be."""
    console.print(Text(f"MLflow: {sent.address}"), soft_wrap=True)
    if sent.files_left_out:
        files = counted(sent.files_left_out, "file")
        words = f"MLflow: {files} left out, since this server does not pass files on: start it with --serve-artifacts"
        errors.print(Text(words, style="yellow"), soft_wrap=True)


def _greet(tracking: Tracking, *, name: str) -> None:
    """Says before hours of work where nobody answers."""
    from syntrial.errors import SyntrialError
    from syntrial.tracking.sending import EXPERIMENT_TAGS
    from syntrial.tracking.server import Server

    try:
        with closing(Server(tracking.address, silence=_FIRST_WORD_SECONDS)) as server:
            server.experiment(name, tags=EXPERIMENT_TAGS)
    except SyntrialError as error:
        errors.print(Text(f"MLflow: {error}\n  the trial goes on; it is tried again", style="yellow"), soft_wrap=True)


def _finish(follower: "Follower", tracking: Tracking) -> None:
    from syntrial.errors import SyntrialError

    try:
        print_sent(follower.finish())
    except SyntrialError as error:
        later = f"syntrial track {tracking.spelling} --mlflow {tracking.address}"
        words = f"MLflow was not told everything: {error}\n  the trial is not touched by that; send it later: {later}"
        errors.print(Text(words, style="yellow"), soft_wrap=True)
