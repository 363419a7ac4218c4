"""Commands for trials on a cluster: submit, upload, cancel, backup."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.text import Text

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
    errors,
)
from syntrial.cli.places import connected, experiment_on_cluster, options_words
from syntrial.counting import counted

if TYPE_CHECKING:
    from syntrial.artifacts.store import ArtifactStore
    from syntrial.remote.submit import LocalSource


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
    from syntrial.remote.experiments import apply, check, namespace_of
    from syntrial.remote.store import remote_store
    from syntrial.remote.submit import prepare

    submission = prepare(file, data_root=data_root)
    door = connected(context, namespace)
    place = namespace_of(submission.tree, door=door, asked=namespace)
    if submission.sources:
        # What the cluster would not take is told before gigabytes are sent.
        check(door, submission.tree, namespace=place)
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


@app.command(rich_help_panel=CLUSTER)
def backup(
    file: Annotated[Path, typer.Argument(help="Where to write them, as YAML; a file that is there is replaced whole.")],
    context: Context = None,
    namespace: Namespace = None,
) -> None:
    """Write a namespace's Experiments to a file that `kubectl apply` restores; copy the store's bucket beside it."""
    import yaml

    from syntrial.remote.experiments import restorable
    from syntrial.trial.export import write_whole

    door = connected(context, namespace)
    found = restorable(door, namespace=door.namespace)
    text = yaml.safe_dump_all(found, sort_keys=False, allow_unicode=True, explicit_start=True)
    write_whole(file, text.encode())
    console.print(Text(f"{file}: {counted(len(found), 'experiment')} of namespace {door.namespace}"), soft_wrap=True)


def _warn_of_persons(path: Path) -> None:
    from syntrial.sources.personal import personal_signs, warnings_for

    for sentence in warnings_for(personal_signs(path)):
        errors.print(Text(f"personal? {sentence}", style="yellow"), soft_wrap=True)
        errors.print(Text("names go into the store as they are: see docs/privacy.md", style="yellow"), soft_wrap=True)


def _send(source: "LocalSource", *, store: "ArtifactStore") -> None:
    """Puts a source into the store and shows how far it is; warns first where files seem to name persons."""
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

    from syntrial.remote.submit import send

    _warn_of_persons(source.path)
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
