"""Commands for trials on this machine, and what they share with those that take a file of an experiment."""

import sys
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.text import Text

from syntrial import __version__
from syntrial.cli.options import (
    DEFAULT_STORE,
    HERE,
    Cores,
    DataRoot,
    Devices,
    File,
    Mlflow,
    Out,
    StoreOption,
    app,
    console,
    errors,
)
from syntrial.cli.tracked import Tracking, tracked
from syntrial.counting import counted

if TYPE_CHECKING:
    from syntrial.artifacts.store import ArtifactStore
    from syntrial.executors.executor import Event
    from syntrial.executors.local import LocalExecutor
    from syntrial.experiment.model import Experiment
    from syntrial.trial.device_time import Estimate
    from syntrial.trial.run import Trial


@app.command(rich_help_panel=HERE)
def run(  # noqa: PLR0917 - options of a command
    file: File,
    store: StoreOption = DEFAULT_STORE,
    data_root: DataRoot = None,
    out: Out = None,
    cores: Cores = None,
    devices: Devices = None,
    mlflow: Mlflow = None,
    at_most: Annotated[
        str | None,
        typer.Option(
            metavar="TIME",
            help="Measure first, and start nothing where the estimate of device time is over this: 90s, 30m, 2h.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Run an experiment to its verdict; what is finished is never run again."""
    from syntrial.experiment.file import read_experiment

    experiment = read_experiment(file)
    tracking = _tracking(mlflow, file=file, store=store) if mlflow is not None else None
    if at_most is not None:
        _require_time(experiment, at_most, base=file.parent, store=store, data_root=data_root)
    run_here(
        experiment,
        base=file.parent,
        store=store,
        data_root=data_root,
        out=out,
        cores=cores,
        devices=devices,
        tracking=tracking,
    )


@app.command(rich_help_panel=HERE)
def plan(
    file: File,
    store: StoreOption = DEFAULT_STORE,
    data_root: DataRoot = None,
    measure: Annotated[
        bool,
        typer.Option("--measure", help="Estimate the trial's device time from short runs; prepares the data set."),
    ] = False,
) -> None:
    """Print every step with its key, what the store has, and the effect that the trial could detect."""
    from syntrial.artifacts.store import open_store
    from syntrial.cli.terminal import plan_view
    from syntrial.experiment.file import read_experiment

    opened = open_store(store)
    trial = draft_of(read_experiment(file), base=file.parent, store=opened, data_root=data_root)
    done = opened.done(step.key for step in trial.plan.steps)
    console.print(plan_view(trial.plan, done=done, detectable=_detectable(trial)))
    _print_remarks(trial)
    if measure:
        console.print(Text(_measured(trial, store=opened).words))


@app.command(rich_help_panel=HERE)
def judge(  # noqa: PLR0917 - options of a command
    real: Annotated[Path, typer.Option(help="Real images: a folder for each class.")],
    synthetic: Annotated[Path, typer.Option(help="Synthetic images, in folders of the same classes.")],
    store: StoreOption = DEFAULT_STORE,
    name: Annotated[str, typer.Option(help="The trial's name.")] = "judge",
    size: Annotated[int, typer.Option(min=8, max=1024, help="Side of the images in pixels.")] = 64,
    classifier: Annotated[str, typer.Option(help="small-cnn, or the name of a timm model.")] = "small-cnn",
    replicates: Annotated[int, typer.Option(min=1, max=100, help="Seeds of the classifier.")] = 5,
    steps: Annotated[int | None, typer.Option(min=1, help="Optimiser steps of each training.")] = None,
    patient_pattern: Annotated[str | None, typer.Option(help="Finds the patient in a real file's name.")] = None,
    color_mode: Annotated[str, typer.Option(help="grey or rgb, where files of both are mixed.")] = "source",
    class_map: Annotated[
        list[str] | None,
        typer.Option(metavar="OTHER=NAME", help="Another name for a class; OTHER= leaves it out. As often as needed."),
    ] = None,
    out: Out = None,
    cores: Cores = None,
) -> None:
    """Judge ready-made synthetic images against real ones: a full trial without a file; writes the one that it ran."""
    from syntrial.experiment.templates import judging_experiment

    experiment = judging_experiment(
        name=name,
        real=real.resolve(),
        synthetic=synthetic.resolve(),
        size=size,
        classifier=classifier,
        replicates=replicates,
        steps=steps,
        patient_pattern=patient_pattern,
        color_mode=color_mode,
        class_map=class_map or (),
    )
    run_here(experiment, base=Path.cwd(), store=store, data_root=None, out=out, cores=cores)


@app.command(rich_help_panel=HERE)
def demo(store: StoreOption = DEFAULT_STORE, data_root: DataRoot = None, out: Out = None, cores: Cores = None) -> None:
    """Run a small trial: on BreastMNIST where it is at hand, else on drawn images."""
    from syntrial.experiment.templates import demo_experiment

    experiment = demo_experiment(real=True)
    if _can_prepare(experiment, store=store, data_root=data_root):
        console.print("Demo on real data: BreastMNIST, 546 training and 156 test ultrasound images.")
    else:
        experiment = demo_experiment(real=False)
        console.print(
            "Demo on drawn chest images (a phantom), since BreastMNIST is not at hand and cannot be downloaded."
        )
    run_here(experiment, base=Path.cwd(), store=store, data_root=data_root, out=out, cores=cores)


@app.command(rich_help_panel=HERE)
def gc(
    store: StoreOption = DEFAULT_STORE,
    older_than: Annotated[float, typer.Option(min=0, help="Days that unreachable artifacts are kept.")] = 7.0,
    delete: Annotated[bool, typer.Option("--delete", help="Delete; without it, only say what would go.")] = False,
) -> None:
    """Find what no experiment in the store reaches, and delete it on request."""
    from syntrial.artifacts.gc import collect
    from syntrial.artifacts.store import open_store

    found = collect(open_store(store), older_than=older_than * 86400.0, dry_run=not delete)
    verb = "removed" if delete else "would remove (--delete does it)"
    objects = counted(len(found.removed), "object")
    console.print(f"{verb}: {objects}, {found.bytes / 2**20:.1f} MiB; kept: {len(found.kept)}")


@app.command()
def version() -> None:
    """Print the version."""
    console.print(__version__)


def draft_of(experiment: "Experiment", *, base: Path, store: "ArtifactStore", data_root: Path | None) -> "Trial":
    """The trial of an experiment as planned before the test split is opened."""
    from syntrial.plan.size import check_size, step_limit
    from syntrial.sources.resolve import resolve_sources
    from syntrial.trial.run import draft

    check_size(experiment, limit=step_limit())
    with _copying() as show:
        sources = resolve_sources(experiment, base=base, data_root=data_root, store=store, on_progress=show)
    for name, contents in sources.contents.items():
        for note in contents.notes:
            errors.print(f"{name}: {note}", markup=False, highlight=False)
    return draft(experiment, sources, store=store)


@contextmanager
def _copying() -> Iterator[Callable[[int, int], None]]:
    """Shows how far the reading of a source is, and how fast, where it is read for the first time."""
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
        TransferSpeedColumn,
    )

    columns = (
        TextColumn("reading the sources"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=errors, disable=not errors.is_terminal, transient=True) as bar:

        def show(done: int, total: int) -> None:
            task = bar.task_ids[-1] if bar.task_ids else bar.add_task("", total=total)
            bar.update(task, completed=done, total=total)

        yield show


def _can_prepare(experiment: "Experiment", *, store: str, data_root: Path | None) -> bool:
    """Whether the data set can be prepared: its file is at hand, or its download answers."""
    from syntrial.artifacts.store import open_store
    from syntrial.executors.local import LocalExecutor
    from syntrial.trial.run import prepare

    opened = open_store(store)
    trial = draft_of(experiment, base=Path.cwd(), store=opened, data_root=data_root)
    with closing(LocalExecutor(opened.url, source_locations=trial.sources.locations)) as executor:
        return prepare(trial, store=opened, executor=executor).is_complete


def _measured(trial: "Trial", *, store: "ArtifactStore") -> "Estimate":
    """The trial's device time, measured on this machine."""
    from syntrial.executors.local import LocalExecutor
    from syntrial.trial.device_time import measured_here

    with (
        interruptible("nothing of the trial was started"),
        closing(LocalExecutor(store.url, source_locations=trial.sources.locations)) as executor,
    ):
        return measured_here(trial.plan, store=store, executor=executor)


def _require_time(experiment: "Experiment", at_most: str, *, base: Path, store: str, data_root: Path | None) -> None:
    """Prints the estimate of the trial's device time; refuses one over `at_most`."""
    from syntrial.artifacts.store import open_store
    from syntrial.trial.device_time import check_at_most, seconds_of

    limit = seconds_of(at_most)
    opened = open_store(store)
    estimate = _measured(draft_of(experiment, base=base, store=opened, data_root=data_root), store=opened)
    console.print(Text(estimate.words))
    check_at_most(estimate, limit)


def _detectable(trial: "Trial") -> str:
    from syntrial.trial.detectable_effect import detectable_words

    return detectable_words(trial.experiment, trial.sources)


def _print_remarks(trial: "Trial") -> None:
    from syntrial.sources.contents import remarks

    for remark in remarks(trial.experiment, trial.sources.contents):
        console.print(Text(remark))


def _tracking(address: str, *, file: Path, store: str) -> Tracking:
    from syntrial.tracking.server import server_address

    spelling = str(file) if store == DEFAULT_STORE else f"{file} --store {store}"
    return Tracking(address=server_address(address), spelling=spelling)


def run_here(
    experiment: "Experiment",
    *,
    base: Path,
    store: str,
    data_root: Path | None,
    out: Path | None,
    cores: int | None,
    devices: int | None = None,
    tracking: Tracking | None = None,
) -> None:
    """Runs an experiment on this machine and shows its report, unless a step failed before because of the user."""
    from syntrial.artifacts.store import open_store
    from syntrial.trial.attempts import remembered_failures

    opened = open_store(store)
    trial = draft_of(experiment, base=base, store=opened, data_root=data_root)
    if remembered := remembered_failures(trial.plan, uid=trial.uid, store=opened):
        for step, attempt in remembered:
            errors.print(Text(f"failed before: {step.label} (key {step.key[:12]})", style="bold red"), soft_wrap=True)
            errors.print(Text(f"  {attempt.message}\n  do: mend it, then use `syntrial retry`."), soft_wrap=True)
        sys.exit(2)
    run_draft(trial, store=opened, out=out, cores=cores, devices=devices, tracking=tracking)


def run_draft(
    trial: "Trial",
    *,
    store: "ArtifactStore",
    out: Path | None,
    cores: int | None,
    devices: int | None = None,
    tracking: Tracking | None = None,
) -> None:
    """Runs a planned trial on this machine, whatever failed before, and shows its report."""
    from syntrial.cli.terminal import LiveRun, print_failure
    from syntrial.executors.local import LocalExecutor
    from syntrial.executors.processes import require_programs
    from syntrial.executors.slots import this_machine
    from syntrial.plan.steps import is_shared, require_shares
    from syntrial.rpc.ranks import require_devices
    from syntrial.trial.export import write_report
    from syntrial.trial.run import run as run_trial
    from syntrial.trial.status import more_words

    name = trial.experiment.metadata.name
    done = store.done(step.key for step in trial.plan.steps)
    left = [step for step in trial.plan.steps if step.key not in done]
    require_programs(left)
    devices = devices or trial.experiment.spec.resources.devices
    if any(map(is_shared, left)):
        machine = this_machine(cores=cores)
        require_devices(devices, gpus=len(machine.gpus), cores=machine.cores)
        require_shares(left, devices=devices)
    steps = f"{counted(len(trial.plan.steps), 'step')}{more_words(trial.plan)}"
    console.print(f"[bold]{name}[/]: {steps}, {len(done)} done; store {store.url}")
    console.print(Text(_detectable(trial)))
    _print_remarks(trial)
    with (
        interruptible("the same command goes on from here"),
        LocalExecutor(
            store.url, source_locations=trial.sources.locations, cores=cores, devices=devices, experiment=trial.uid
        ) as executor,
        tracked(tracking, store=store, name=name, uid=trial.uid) as (tell, send_rest),
        LiveRun(console, trial.plan, done=len(done)) as live,
    ):

        def on_event(event: "Event") -> None:
            live.on_event(event)
            tell(event)

        whole, outcome = run_trial(trial, store=store, executor=executor, on_event=on_event, on_plan=live.on_plan)
    send_rest()
    if not outcome.is_complete:
        labels = {step.key: step.label for step in whole.plan.steps}
        for failure in outcome.failures:
            print_failure(errors, failure, label=labels[failure.key])
        sys.exit(2 if all(not failure.retryable for failure in outcome.failures) else 1)
    folder = report_folder(out, name=name)
    show_report(write_report(store, key=whole.plan.report[-1].key, uid=trial.uid, out=folder), folder=folder)


def report_folder(out: Path | None, *, name: str) -> Path:
    """Where the report of a trial goes: as --out says, else runs/NAME."""
    return out or Path("runs") / name


def show_report(report: dict[str, Any], *, folder: Path) -> None:
    """Prints the summary of a report that was written to `folder`."""
    from syntrial.analysis.tables import terminal_summary

    console.print(terminal_summary(report))
    console.print(Text(f"report: {folder / 'report.html'}"))


@contextmanager
def interruptible(words: str) -> Iterator[None]:
    """Ctrl-C ends a command with these words on what comes next, and SIGTERM as Ctrl-C does."""
    import signal

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    except KeyboardInterrupt:
        errors.print(f"interrupted; {words}")
        sys.exit(130)
    finally:
        signal.signal(signal.SIGTERM, before)


@contextmanager
def on_this_machine(
    url: str, *, locations: dict[str, Path], cores: int | None
) -> "Iterator[tuple[LocalExecutor, Callable[[Event], None]]]":
    """An executor on this machine, and what shows on standard error what it does."""
    from syntrial.executors.executor import StepProgressed
    from syntrial.executors.local import LocalExecutor

    with (
        interruptible("the same command goes on from here"),
        LocalExecutor(url, source_locations=locations, cores=cores) as executor,
        errors.status("looking at what is there") as status,
    ):

        def show(event: "Event") -> None:
            if isinstance(event, StepProgressed):
                status.update(Text(f"{event.progress.activity} {event.progress.done:,} of {event.progress.total:,}"))

        yield executor, show
