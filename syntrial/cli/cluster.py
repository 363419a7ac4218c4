"""Commands for trials on a cluster, and what they share with those that take a trial from anywhere."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer
from rich.text import Text

from syntrial.cli.laptop import draft_of, interruptible, show_progress
from syntrial.cli.options import (
    ANYWHERE,
    CLUSTER,
    DEFAULT_STORE,
    STORE_SECRET,
    Context,
    DataRoot,
    Endpoint,
    File,
    Name,
    Namespace,
    Secret,
    StoreOption,
    Trial,
    app,
    console,
    errors,
    options_words,
)

if TYPE_CHECKING:
    from rich.console import RenderableType

    from syntrial.artifacts.store import ArtifactStore
    from syntrial.cluster.door import Door
    from syntrial.remote.experiments import Remote
    from syntrial.remote.submit import LocalSource

WATCH_SECONDS: Final = 2.0
"""Between looks at the status."""

FIRST_ANSWER_SECONDS: Final = 5.0
"""What pods get to say how far they are, where the status is shown once."""


@app.command(rich_help_panel=CLUSTER)
def submit(  # noqa: PLR0917 - options of a command
    file: File,
    data_root: DataRoot = None,
    context: Context = None,
    namespace: Namespace = None,
    secret: Secret = STORE_SECRET,
    endpoint: Endpoint = None,
) -> None:
    """Send an experiment to a cluster, its local data first; what the store has is not sent again."""
    from syntrial.remote.experiments import apply, namespace_of
    from syntrial.remote.store import remote_store
    from syntrial.remote.submit import prepare

    submission = prepare(file, data_root=data_root)
    door = connected(context, namespace)
    place = namespace_of(submission.tree, door=door, asked=namespace)
    if submission.sources:
        with remote_store(door, namespace=place, secret=secret, endpoint=endpoint) as store:
            for source in submission.sources:
                _send(source, store=store)
    remote, word = apply(door, submission.tree, namespace=place)
    console.print(Text(f"experiment.syntrial.dev/{remote.name} {word} in namespace {place}"), soft_wrap=True)
    options = options_words(context, namespace)
    console.print(Text(f"next: syntrial status {remote.name} --watch{options}"), soft_wrap=True)


@app.command(rich_help_panel=CLUSTER)
def upload(  # noqa: PLR0917 - options of a command
    path: Annotated[Path, typer.Argument(help="A folder of images, an .npz file, or weights (.safetensors).")],
    store: Annotated[
        str | None, typer.Option(help="Another store than the namespace's: a folder, or s3://bucket/prefix.")
    ] = None,
    context: Context = None,
    namespace: Namespace = None,
    secret: Secret = STORE_SECRET,
    endpoint: Endpoint = None,
) -> None:
    """Put data into the store by its content, and print the address that an experiment then names."""
    from syntrial.remote.store import remote_store
    from syntrial.remote.submit import LocalSource, digest_of

    source = LocalSource(field="PATH", path=path, digest=digest_of(path))
    if store is not None:
        from syntrial.artifacts.store import open_store

        _send(source, store=open_store(store))
    else:
        door = connected(context, namespace)
        with remote_store(door, namespace=door.namespace, secret=secret, endpoint=endpoint) as opened:
            _send(source, store=opened)
    console.print(Text(source.digest), soft_wrap=True)


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
    file = file_of(trial)
    if file is not None:
        from syntrial.experiment.file import read_experiment

        drafted, opened = draft_of(read_experiment(file), base=file.parent, store=store, data_root=data_root)
        show_progress(drafted, store=opened)
        return
    door, remote = experiment_on_cluster(trial, context=context, namespace=namespace)
    with interruptible("the trial goes on; this only stopped looking"):
        screen = _StatusScreen(
            door, remote, rates=rates, secret=secret, endpoint=endpoint, options=options_words(context, namespace)
        )
        if not watch:
            screen.show()
        elif console.is_terminal:
            screen.live()
        else:
            screen.lines()
    if watch and screen.remote.condition("Succeeded") != "True":
        sys.exit(1)


@app.command(rich_help_panel=CLUSTER)
def cancel(
    name: Name,
    delete: Annotated[
        bool, typer.Option("--delete", help="Delete the Experiment; artifacts stay until garbage collection.")
    ] = False,
    context: Context = None,
    namespace: Namespace = None,
) -> None:
    """Stop a trial where it is: what is finished stays, long steps save where they are. `retry` takes it up again."""
    from syntrial.remote.experiments import delete as delete_experiment
    from syntrial.remote.experiments import suspend

    door, remote = experiment_on_cluster(name, context=context, namespace=namespace)
    if delete:
        delete_experiment(door, remote)
        console.print(Text(f"experiment.syntrial.dev/{name} deleted from namespace {remote.namespace}"), soft_wrap=True)
        return
    suspend(door, remote, value=True)
    console.print(Text(f"experiment.syntrial.dev/{name} suspended in namespace {remote.namespace}"), soft_wrap=True)
    console.print(Text(f"next: syntrial retry {name}{options_words(context, namespace)}"), soft_wrap=True)


def file_of(trial: str) -> Path | None:
    """The experiment's file that an argument means, or None where it is a name on the cluster."""
    path = Path(trial)
    return path if path.suffix in {".yaml", ".yml"} or path.is_file() else None


def connected(context: str | None, namespace: str | None) -> "Door":
    """The cluster that the options mean, as kubectl understands them."""
    from syntrial.cluster.client import connect

    return connect(context, namespace)


def experiment_on_cluster(name: str, *, context: str | None, namespace: str | None) -> "tuple[Door, Remote]":
    """The cluster, and the Experiment of that name in the namespace that is meant; raises UserError."""
    from syntrial.errors import UserError
    from syntrial.remote.experiments import find

    if file_of(name) is not None:
        raise UserError(
            field="NAME",
            rule="names an Experiment on the cluster",
            received=f"{name}, a file",
            remedy="Give the name in its metadata.",
        )
    door = connected(context, namespace)
    return door, find(door, name, namespace=door.namespace)


@contextmanager
def stored(door: "Door", remote: "Remote", *, secret: str, endpoint: str | None) -> "Iterator[ArtifactStore]":
    """The store of an experiment's namespace, for the block."""
    from syntrial.remote.store import remote_store

    with remote_store(door, namespace=remote.namespace, secret=secret, endpoint=endpoint) as opened:
        yield opened


def _send(source: "LocalSource", *, store: "ArtifactStore") -> None:
    """Puts a source into the store and shows how far it is."""
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

    from syntrial.remote.submit import send

    columns = (BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())
    with Progress(
        TextColumn("{task.description}"), *columns, console=console, disable=not console.is_terminal, transient=True
    ) as bar:
        task = bar.add_task(source.path.name, total=None)

        def show(done: int, total: int) -> None:
            bar.update(task, completed=done, total=total)

        sent = send(source, store=store, on_progress=show)
    word = f"{sent / 2**20:.1f} MiB sent" if sent else "in the store already"
    console.print(Text(f"{source.path}: {word}; {source.digest}"), soft_wrap=True)


class _StatusScreen:
    """The status of an Experiment, shown once or followed until nothing more happens."""

    def __init__(
        self, door: "Door", remote: "Remote", *, rates: bool, secret: str, endpoint: str | None, options: str
    ) -> None:
        from syntrial.remote.progress import PodWatch

        self.remote = remote
        self._door = door
        self._pods = PodWatch(door, namespace=remote.namespace)
        self._rates = rates
        self._secret = secret
        self._endpoint = endpoint
        self._options = options
        self._labels: dict[str, str] | None = None

    def show(self) -> None:
        """Prints the status as it is."""
        self._look_at_pods()
        self._pods.wait_for_first(timeout=FIRST_ANSWER_SECONDS)
        console.print(self._view())

    def live(self) -> None:
        """Redraws the status in place until the trial is over, then prints it."""
        from rich.live import Live

        with Live(console=console, auto_refresh=False, transient=True) as screen:
            while not self.remote.is_over:
                self._look_at_pods()
                until = time.monotonic() + WATCH_SECONDS
                while time.monotonic() < until:
                    screen.update(self._view(), refresh=True)
                    time.sleep(0.25)
                self._look()
        console.print(self._view())

    def lines(self) -> None:
        """For output that is no terminal: a line whenever counts or reasons change, and the whole at the end."""
        from syntrial.remote.view import status_line

        before = ""
        while not self.remote.is_over:
            line = status_line(self.remote)
            if line != before:
                console.print(Text(line), soft_wrap=True)
                before = line
            time.sleep(WATCH_SECONDS)
            self._look()
        console.print(self._view())

    def _look(self) -> None:
        from syntrial.errors import ClusterUnavailable
        from syntrial.remote.experiments import find

        try:
            self.remote = find(self._door, self.remote.name, namespace=self.remote.namespace)
        except ClusterUnavailable as error:
            # Somebody who watches for hours is not to be sent away by a restart of the API server.
            errors.print(Text(f"{error}; asking again", style="yellow"), soft_wrap=True)

    def _look_at_pods(self) -> None:
        from syntrial.errors import SyntrialError
        from syntrial.remote.progress import live_pods
        from syntrial.trial.record import read_step_labels

        if not self._rates or self.remote.is_over:
            self._pods.close()
            return
        try:
            pods = live_pods(self._door, namespace=self.remote.namespace, uid=self.remote.uid)
            self._pods.follow(pods)
            if pods and self._labels is None:
                # Names of steps are in the store; who may not read its Secret sees methods and keys instead.
                self._labels = {}
                with stored(self._door, self.remote, secret=self._secret, endpoint=self._endpoint) as opened:
                    self._labels = read_step_labels(opened, uid=self.remote.uid)
        except SyntrialError:
            return

    def _view(self) -> "RenderableType":
        from syntrial.remote.view import status_view

        return status_view(self.remote, running=self._pods.running(), labels=self._labels or {}, options=self._options)
