"""Commands for trials on a cluster, and what they share with those that take a trial from anywhere."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer
from rich.text import Text

from syntrial.cli.laptop import interruptible
from syntrial.cli.options import (
    CLUSTER,
    STORE_SECRET,
    Context,
    DataRoot,
    Endpoint,
    File,
    Name,
    Namespace,
    Secret,
    app,
    console,
)

if TYPE_CHECKING:
    from syntrial.artifacts.store import ArtifactStore
    from syntrial.remote.door import Door
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
    options = "".join(
        f" {name} {value}" for name, value in (("--context", context), ("-n", namespace)) if value is not None
    )
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


@app.command(rich_help_panel=CLUSTER)
def status(
    name: Name,
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Go on looking until the trial is over.")] = False,
    rates: Annotated[bool, typer.Option(help="Ask running pods how fast they are.")] = True,
    context: Context = None,
    namespace: Namespace = None,
) -> None:
    """Show how far a trial is, what runs and how fast, what waits and why.

    With --watch the exit code is 1 where the trial ended without a verdict.
    """
    from rich.live import Live

    from syntrial.remote.experiments import find
    from syntrial.remote.progress import PodWatch, live_pods
    from syntrial.remote.view import status_view

    door, remote = experiment_on_cluster(name, context=context, namespace=namespace)
    pods = PodWatch(door, namespace=remote.namespace)

    def look() -> None:
        if rates:
            pods.follow(live_pods(door, namespace=remote.namespace, uid=remote.uid))

    with interruptible("the trial goes on; this only stopped looking"):
        look()
        if not watch or remote.is_over:
            pods.wait_for_first(timeout=FIRST_ANSWER_SECONDS)
            console.print(status_view(remote, running=pods.running()))
        elif not console.is_terminal:
            _print_changes(door, remote)
            remote = find(door, name, namespace=remote.namespace)
        else:
            with Live(console=console, refresh_per_second=4, transient=True) as live:
                while not remote.is_over:
                    until = time.monotonic() + WATCH_SECONDS
                    while time.monotonic() < until:
                        live.update(status_view(remote, running=pods.running()))
                        time.sleep(0.25)
                    remote = find(door, name, namespace=remote.namespace)
                    look()
            console.print(status_view(remote, running={}))
    if watch and remote.condition("Succeeded") != "True":
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
    console.print(Text(f"experiment.syntrial.dev/{name} suspended; next: syntrial retry {name}"), soft_wrap=True)


def file_of(trial: str) -> Path | None:
    """The experiment's file that an argument means, or None where it is a name on the cluster."""
    path = Path(trial)
    return path if path.suffix in {".yaml", ".yml"} or path.is_file() else None


def connected(context: str | None, namespace: str | None) -> "Door":
    """The cluster that the options mean, as kubectl understands them."""
    from syntrial.executors.kubernetes import connect

    return connect(context, namespace)


def experiment_on_cluster(name: str, *, context: str | None, namespace: str | None) -> "tuple[Door, Remote]":
    """The cluster, and the Experiment of that name in the namespace that is meant; raises UserError."""
    from syntrial.remote.experiments import find

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


def _print_changes(door: "Door", remote: "Remote") -> None:
    """Where the output is no terminal: a line whenever the counts or conditions change, and the whole at the end."""
    from syntrial.remote.experiments import find
    from syntrial.remote.view import status_line, status_view

    before = ""
    while not remote.is_over:
        line = status_line(remote)
        if line != before:
            console.print(Text(line), soft_wrap=True)
            before = line
        time.sleep(WATCH_SECONDS)
        remote = find(door, remote.name, namespace=remote.namespace)
    console.print(status_view(remote, running={}))
