"""Commands on a trial wherever it ran: report, logs, retry and export.

An argument that is an existing file, or ends in .yaml or .yml, is a laptop's experiment; any other is the name of an
Experiment on the cluster.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.text import Text

from syntrial.cli.cluster import experiment_on_cluster, file_of, stored
from syntrial.cli.laptop import draft_of, interruptible, run_here, show_report
from syntrial.cli.options import (
    ANYWHERE,
    DEFAULT_STORE,
    STORE_SECRET,
    Context,
    Cores,
    DataRoot,
    Endpoint,
    Namespace,
    Out,
    Secret,
    StoreOption,
    Trial,
    app,
    console,
    errors,
    options_words,
)

if TYPE_CHECKING:
    from syntrial.artifacts.store import ArtifactStore
    from syntrial.trial.attempts import LogSection

Open = Annotated[bool, typer.Option("--open", help="Open the page in a browser.")]


@app.command(rich_help_panel=ANYWHERE)
def report(  # noqa: PLR0917 - options of a command
    trial: Trial,
    out: Out = None,
    open_page: Open = False,
    store: StoreOption = DEFAULT_STORE,
    data_root: DataRoot = None,
    context: Context = None,
    namespace: Namespace = None,
    secret: Secret = STORE_SECRET,
    endpoint: Endpoint = None,
) -> None:
    """Fetch the report of a trial that has run, and print its summary."""
    file = file_of(trial)
    if file is not None:
        from syntrial.experiment.file import read_experiment
        from syntrial.trial.run import known_looks, with_looks

        drafted, opened = draft_of(read_experiment(file), base=file.parent, store=store, data_root=data_root)
        folder = show_report(with_looks(drafted, known_looks(drafted, store=opened)), store=opened, out=out)
    else:
        from syntrial.analysis.tables import terminal_summary
        from syntrial.trial.export import write_report

        door, remote = experiment_on_cluster(trial, context=context, namespace=namespace)
        folder = out or Path("runs") / remote.name
        key = remote.report_key
        with stored(door, remote, secret=secret, endpoint=endpoint) as opened:
            found = write_report(opened, key=key, uid=remote.uid, out=folder)
        console.print(terminal_summary(found))
        console.print(Text(f"report: {folder / 'report.html'}"))
    if open_page:
        import webbrowser

        webbrowser.open((folder / "report.html").resolve().as_uri())


@app.command(rich_help_panel=ANYWHERE)
def retry(  # noqa: PLR0917 - options of a command
    trial: Trial,
    store: StoreOption = DEFAULT_STORE,
    data_root: DataRoot = None,
    out: Out = None,
    cores: Cores = None,
    context: Context = None,
    namespace: Namespace = None,
    secret: Secret = STORE_SECRET,
    endpoint: Endpoint = None,
) -> None:
    """Try again the steps that failed because of something of yours; takes up again what was cancelled."""
    file = file_of(trial)
    if file is not None:
        from syntrial.experiment.file import read_experiment

        run_here(
            read_experiment(file), base=file.parent, store=store, data_root=data_root, out=out, cores=cores, again=True
        )
        return
    from syntrial.errors import ArtifactMissing
    from syntrial.remote.experiments import suspend
    from syntrial.remote.retry import forgive_ingests, wait_until_taken_up
    from syntrial.trial.attempts import forgive
    from syntrial.trial.record import read_step_labels

    door, remote = experiment_on_cluster(trial, context=context, namespace=namespace)
    forgiven = forgive_ingests(door, remote)
    # One that was never planned has no steps to forgive, but may be suspended.
    with suppress(ArtifactMissing), stored(door, remote, secret=secret, endpoint=endpoint) as opened:
        forgiven += forgive(read_step_labels(opened, uid=remote.uid), uid=remote.uid, store=opened)
    suspend(door, remote, value=False)
    for label in forgiven:
        console.print(Text(f"tried again: {label}"))
    if remote.is_suspended:
        console.print("taken up again")
    elif not forgiven:
        console.print("nothing has failed")
    elif not wait_until_taken_up(door, remote):
        errors.print(Text("the controller has not taken it up yet: see that it runs", style="yellow"))
    options = options_words(context, namespace)
    console.print(Text(f"next: syntrial status {remote.name} --watch{options}"), soft_wrap=True)


@app.command(rich_help_panel=ANYWHERE)
def logs(  # noqa: PLR0917 - options of a command
    trial: Trial,
    step: Annotated[str | None, typer.Argument(help="The first digits of a key, or part of a step's label.")] = None,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on with what running pods print.")] = False,
    store: StoreOption = DEFAULT_STORE,
    data_root: DataRoot = None,
    context: Context = None,
    namespace: Namespace = None,
    secret: Secret = STORE_SECRET,
    endpoint: Endpoint = None,
) -> None:
    """Print what each attempt at a trial's steps left behind, and what running pods print."""
    from syntrial.errors import SyntrialError
    from syntrial.rpc.logs import readable
    from syntrial.trial.attempts import chosen, recorded_logs
    from syntrial.trial.record import read_step_labels

    file = file_of(trial)
    if file is not None:
        from syntrial.experiment.file import read_experiment

        drafted, opened = draft_of(read_experiment(file), base=file.parent, store=store, data_root=data_root)
        labels = chosen({s.key: s.label for s in drafted.plan.steps}, step=step)
        _print_sections(recorded_logs(opened, labels))
        return
    from syntrial.remote.logs import follow as followed
    from syntrial.remote.logs import live
    from syntrial.remote.progress import live_pods

    door, remote = experiment_on_cluster(trial, context=context, namespace=namespace)
    labels, shown = {}, 0
    try:
        with stored(door, remote, secret=secret, endpoint=endpoint) as opened:
            labels = chosen(read_step_labels(opened, uid=remote.uid), step=step)
            shown = _print_sections(recorded_logs(opened, labels))
    except SyntrialError as error:
        if step is not None:
            raise  # which step is meant is known by its label, and labels are in the store
        errors.print(Text(f"recorded attempts are not shown: {error}", style="yellow"), soft_wrap=True)
    keys = set(labels) if step is not None else None
    if not follow:
        pods = live_pods(door, namespace=remote.namespace, uid=remote.uid)
        shown += _print_sections(live(door, pods, namespace=remote.namespace, keys=keys))
        if not shown:
            errors.print("nothing has run yet")
        return
    from syntrial.remote.experiments import find

    with interruptible("the trial goes on; this only stopped looking"):
        lines = followed(
            door, remote, keys=keys, is_over=lambda: find(door, remote.name, namespace=remote.namespace).is_over
        )
        for pod, line in lines:
            console.print(Text(f"{pod}  ", style="dim").append(readable(line), style="not dim"), soft_wrap=True)


@app.command(rich_help_panel=ANYWHERE)
def export(  # noqa: PLR0917 - options of a command
    trial: Trial,
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A new or empty folder.", show_default=False)],
    include: Annotated[
        list[str] | None,
        typer.Option(help="images, predictions, generators, classifiers or all; may be given several times."),
    ] = None,
    picture_format: Annotated[str, typer.Option("--format", help="Of images: png or npz.")] = "png",
    store: StoreOption = DEFAULT_STORE,
    context: Context = None,
    namespace: Namespace = None,
    secret: Secret = STORE_SECRET,
    endpoint: Endpoint = None,
) -> None:
    """Take a trial home: experiment, report, tables, provenance, and on request images, predictions and weights."""
    from syntrial.trial.export import chosen_format, chosen_parts, export_trial

    parts, written_as = chosen_parts(include or ()), chosen_format(picture_format)
    with _filed(trial, store=store, context=context, namespace=namespace, secret=secret, endpoint=endpoint) as found:
        opened, uid, name = found
        with console.status("exporting") as shown:
            done = export_trial(
                opened,
                uid=uid,
                name=name,
                out=folder,
                parts=parts,
                picture_format=written_as,
                on_file=lambda item: shown.update(Text(item)),
            )
    images = f", {done.images:,} images" if done.images else ""
    console.print(Text(f"{done.folder}: {done.files:,} files, {done.bytes / 2**20:.1f} MiB{images}"), soft_wrap=True)
    if done.steps_missing:
        console.print(Text(f"{done.steps_missing} steps are not done; their results are not there", style="yellow"))


@contextmanager
def _filed(
    trial: str, *, store: str, context: str | None, namespace: str | None, secret: str, endpoint: str | None
) -> "Iterator[tuple[ArtifactStore, str, str]]":
    """The store that holds a trial, the identifier that it is filed under, and its name."""
    file = file_of(trial)
    if file is not None:
        from syntrial.artifacts.store import open_store
        from syntrial.experiment.file import read_experiment

        name = read_experiment(file).metadata.name
        yield open_store(store), name, name
        return
    door, remote = experiment_on_cluster(trial, context=context, namespace=namespace)
    with stored(door, remote, secret=secret, endpoint=endpoint) as opened:
        yield opened, remote.uid, remote.name


def _print_sections(sections: "Iterable[LogSection]") -> int:
    """Prints logs as they are read; returns how many there were."""
    from syntrial.rpc.logs import readable

    shown = 0
    for shown, section in enumerate(sections, start=1):  # noqa: B007 - counted
        console.print(Text(section.title, style="bold"), soft_wrap=True)
        console.print(Text(readable(section.text).rstrip()), soft_wrap=True)
    return shown
