"""Commands on a trial wherever it ran: report, retry, logs, export, track and names. All speak to its handle alone."""

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.text import Text

from syntrial.cli.laptop import interruptible, report_folder, show_report
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
    PictureFormat,
    Secret,
    StoreOption,
    Trial,
    app,
    console,
    errors,
)
from syntrial.cli.places import trial_at
from syntrial.cli.tracked import print_sent
from syntrial.counting import counted

if TYPE_CHECKING:
    from syntrial.trial.attempts import LogSection
    from syntrial.trial.handle import TrialHandle

Open = Annotated[bool, typer.Option("--open", help="Open the page in a browser.")]


@app.command(rich_help_panel=ANYWHERE)
def report(  # noqa: PLR0917 - options of a command
    trial: Trial,
    out: Out = None,
    open_page: Open = False,
    store: StoreOption = DEFAULT_STORE,
    context: Context = None,
    namespace: Namespace = None,
    secret: Secret = STORE_SECRET,
    endpoint: Endpoint = None,
) -> None:
    """Fetch the report of a trial that has run, and print its summary."""
    from syntrial.trial.handle import fetch_report

    handle = trial_at(trial, store=store, context=context, namespace=namespace, secret=secret, endpoint=endpoint)
    folder = report_folder(out, name=handle.name)
    show_report(fetch_report(handle, out=folder), folder=folder)
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
    handle = trial_at(
        trial,
        store=store,
        data_root=data_root,
        out=out,
        cores=cores,
        context=context,
        namespace=namespace,
        secret=secret,
        endpoint=endpoint,
    )
    became = handle.retry(on_forgiven=lambda label: console.print(Text(f"tried again: {label}"), soft_wrap=True))
    if became:
        console.print(became)
        console.print(Text(f"next: syntrial status {handle.spelling} --watch"), soft_wrap=True)


@app.command(rich_help_panel=ANYWHERE)
def logs(  # noqa: PLR0917 - options of a command
    trial: Trial,
    step: Annotated[str | None, typer.Argument(help="The first digits of a key, or part of a step's label.")] = None,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on with what running pods print.")] = False,
    store: StoreOption = DEFAULT_STORE,
    context: Context = None,
    namespace: Namespace = None,
    secret: Secret = STORE_SECRET,
    endpoint: Endpoint = None,
) -> None:
    """Print what each attempt at a trial's steps left behind, and what running pods print."""
    from syntrial.errors import SyntrialError, UserError
    from syntrial.rpc.logs import readable
    from syntrial.trial.attempts import chosen, recorded_logs
    from syntrial.trial.record import read_step_labels

    handle = trial_at(trial, store=store, context=context, namespace=namespace, secret=secret, endpoint=endpoint)
    if follow and not handle.has_live_logs:
        raise UserError(
            field="--follow",
            rule="follows the pods of a trial on a cluster",
            received=f"{trial}, a trial on this machine",
            remedy="Leave it out: `syntrial run` shows what runs, and a step's log is there when it has ended.",
        )
    _say_if_behind(handle)
    labels, shown = {}, 0
    try:
        with handle.store() as opened:
            labels = chosen(read_step_labels(opened, uid=handle.uid), step=step)
            shown = _print_sections(recorded_logs(opened, labels))
    except SyntrialError as error:
        if step is not None:
            raise  # which step is meant is known by its label, and labels are in the store
        errors.print(Text(f"recorded attempts are not shown: {error}", style="yellow"), soft_wrap=True)
    keys = set(labels) if step is not None else None
    if not follow:
        shown += _print_sections(handle.live_logs(keys))
        if not shown:
            errors.print("nothing has run yet")
        return
    with interruptible("the trial goes on; this only stopped looking"):
        for server, line in handle.follow_logs(keys):
            console.print(Text(f"{server}  ", style="dim").append(readable(line), style="not dim"), soft_wrap=True)


@app.command(rich_help_panel=ANYWHERE)
def export(  # noqa: PLR0917 - options of a command
    trial: Trial,
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A new or empty folder.", show_default=False)],
    include: Annotated[
        list[str] | None,
        typer.Option(help="images, predictions, generators, classifiers or all; may be given several times."),
    ] = None,
    picture_format: PictureFormat = "png",
    mix: Annotated[
        str | None,
        typer.Option(
            metavar="REAL:SYNTHETIC",
            help="Also each set mixed with real training images, by percent: 70:30.",
            show_default=False,
        ),
    ] = None,
    store: StoreOption = DEFAULT_STORE,
    context: Context = None,
    namespace: Namespace = None,
    secret: Secret = STORE_SECRET,
    endpoint: Endpoint = None,
) -> None:
    """Take a trial home: experiment, report, tables, provenance, and on request images, predictions and weights."""
    from syntrial.imagesets.layouts import chosen_layout
    from syntrial.trial.export import chosen_parts, export_trial
    from syntrial.trial.sets import chosen_mix

    parts, layout, mixed = chosen_parts(include or ()), chosen_layout(picture_format), chosen_mix(mix)
    handle = trial_at(trial, store=store, context=context, namespace=namespace, secret=secret, endpoint=endpoint)
    _say_if_behind(handle)
    with handle.store() as opened, console.status("exporting") as shown:
        done = export_trial(
            opened,
            uid=handle.uid,
            name=handle.name,
            out=folder,
            parts=parts,
            layout=layout,
            mix=mixed,
            on_file=lambda item: shown.update(Text(item)),
        )
    images = f", {counted(done.images, 'image')}" if done.images else ""
    words = f"{done.folder}: {counted(done.files, 'file')}, {done.bytes / 2**20:.1f} MiB{images}"
    console.print(Text(words), soft_wrap=True)
    if done.steps_missing:
        console.print(Text(f"not there: results of {counted(done.steps_missing, 'step')} not done yet", style="yellow"))


@app.command(rich_help_panel=ANYWHERE)
def track(  # noqa: PLR0917 - options of a command
    trial: Trial,
    mlflow: Annotated[
        str, typer.Option(metavar="URL", help="The server's address: http://… or https://…", show_default=False)
    ],
    store: StoreOption = DEFAULT_STORE,
    context: Context = None,
    namespace: Namespace = None,
    secret: Secret = STORE_SECRET,
    endpoint: Endpoint = None,
) -> None:
    """Show a trial in MLflow, as far as it has come: what is there already is not written twice."""
    from syntrial.tracking.sending import send_to
    from syntrial.tracking.server import server_address

    address = server_address(mlflow)
    handle = trial_at(trial, store=store, context=context, namespace=namespace, secret=secret, endpoint=endpoint)
    _say_if_behind(handle)
    with handle.store() as opened, console.status("writing to MLflow"):
        sent = send_to(address, opened, name=handle.title, uid=handle.uid)
    console.print(f"{counted(sent.runs, 'run')}, {sent.written} of them written now")
    print_sent(sent)


@app.command(rich_help_panel=ANYWHERE)
def names(  # noqa: PLR0917 - options of a command
    trial: Annotated[
        str,
        typer.Argument(
            metavar="FILE|NAME|DIR", help="A trial, or images of yours: a folder, an archive.", show_default=False
        ),
    ],
    words: Annotated[list[str] | None, typer.Argument(metavar="[PSEUDONYM]...", help="Default: all.")] = None,
    store: StoreOption = DEFAULT_STORE,
    context: Context = None,
    namespace: Namespace = None,
    secret: Secret = STORE_SECRET,
    endpoint: Endpoint = None,
) -> None:
    """Print which file or patient a pseudonym of a message or report stands for, to whom holds the data."""
    from syntrial.imagesets.trees import ARCHIVE_SUFFIXES
    from syntrial.trial.names import is_called, names_in_folder, names_of_trial

    if Path(trial).is_dir() or (trial.lower().endswith(ARCHIVE_SUFFIXES) and Path(trial).is_file()):
        found = names_in_folder(Path(trial))
    else:
        handle = trial_at(trial, store=store, context=context, namespace=namespace, secret=secret, endpoint=endpoint)
        with handle.store() as opened:
            found = names_of_trial(opened, uid=handle.uid)
    for word, name in found.items():
        if not words or any(is_called(word, asked) for asked in words):
            console.print(Text(f"{word}  {name}"), soft_wrap=True)


def _say_if_behind(handle: "TrialHandle") -> None:
    """What is on record is shown all the same; nobody is to take it for that of the experiment as it is now."""
    if handle.is_behind():
        errors.print(Text(f"{handle.name} has changed since: this is what ran before", style="yellow"), soft_wrap=True)


def _print_sections(sections: "Iterable[LogSection]") -> int:
    """Prints logs as they are read; returns how many there were."""
    from syntrial.rpc.logs import readable

    shown = 0
    for shown, section in enumerate(sections, start=1):  # noqa: B007 - counted
        console.print(Text(section.title, style="bold"), soft_wrap=True)
        console.print(Text(readable(section.text).rstrip()), soft_wrap=True)
    return shown
