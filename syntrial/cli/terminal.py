"""What a person sees in a terminal: the plan as tables, and the live progress of a run.

Rendering alone, by rich; called by the command line. Nothing here decides anything.
"""

import time
from collections import Counter
from collections.abc import Collection
from typing import Self

from rich.console import Console, Group, RenderableType
from rich.markup import escape
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TaskProgressColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Table
from rich.text import Text

from syntrial.cli.status_view import seconds_words
from syntrial.errors import UserError
from syntrial.executors.executor import (
    Event,
    ServerDied,
    StepFailed,
    StepProgressed,
    StepStarted,
    StepSucceeded,
    StepWaits,
)
from syntrial.plan.steps import Plan
from syntrial.trial.status import more_words
from syntrial.v1.analysis_pb2 import CellComparison
from syntrial.v1.progress_pb2 import StepProgress

KEY_DIGITS = 12
"""Digits of a key that are shown; enough to be unique in any store."""

LINE_SECONDS = 30.0
"""Between lines on a running step, where the output is no terminal."""


def print_error(console: Console, error: UserError) -> None:
    """Prints what a user must change, a violation a paragraph, without a traceback."""
    for violation in error.violations:
        console.print(Text(f"error: {violation.field}", style="bold red"), soft_wrap=True)
        for what, value in (("rule", violation.rule), ("received", violation.received), ("do", violation.remedy)):
            if value:
                console.print(Text(f"  {what}: {value}"), soft_wrap=True)


def plan_view(plan: Plan, *, done: Collection[str], detectable: str) -> RenderableType:
    """The plan as tables: every step with its key and whether the store has it, the work left, and the comparisons."""
    steps = Table("step", "method", "key", "store", box=None, header_style="bold", pad_edge=False)
    for step in plan.steps:
        state = "[green]done[/]" if step.key in done else "to do"
        steps.add_row(escape(step.label), step.method.partition("/")[2], step.key[:KEY_DIGITS], state)
    comparisons = Table("comparison", "role", box=None, header_style="bold", pad_edge=False)
    roles = {
        CellComparison.ROLE_PRIMARY: "[bold]primary[/]",
        CellComparison.ROLE_EXPLORATORY: "exploratory",
        CellComparison.ROLE_CONTROL: "control",
    }
    for item in plan.comparisons:
        comparisons.add_row(f"{escape(item.arm)} against {escape(item.control)}", roles[item.role])
    if plan.undecided:
        steps.add_row(f"[dim]{more_words(plan).lstrip(', ')}[/]", "", "", "")
    return Group(steps, "", comparisons, "", work_view(plan, done=done), "", Text(detectable))


def work_view(plan: Plan, *, done: Collection[str]) -> RenderableType:
    """Steps and training images left, by method."""
    table = Table("work", "steps", "to do", "training images to do", box=None, header_style="bold", pad_edge=False)
    counts: Counter[str] = Counter()
    left: Counter[str] = Counter()
    images: Counter[str] = Counter()
    for step in plan.steps:
        name = step.method.partition("/")[2]
        counts[name] += 1
        if step.key not in done:
            left[name] += 1
            images[name] += int(step.work)
    for name, count in counts.items():
        table.add_row(name, str(count), str(left[name]), f"{images[name]:,}" if images[name] else "")
    return table


class LiveRun:
    """The running steps of a trial, a line each, above a bar that counts all steps.

    Where the output is no terminal, each step's end is a line of its own instead.
    """

    def __init__(self, console: Console, plan: Plan, *, done: int) -> None:
        self.console = console
        self._labels = {step.key: step.label for step in plan.steps}
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            TaskProgressColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]}"),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=console,
            disable=not console.is_terminal,
        )
        self._all = self._progress.add_task("[bold]steps[/]", total=_known(plan), completed=done, rate="")
        self._tasks: dict[str, TaskID] = {}
        self._began: dict[str, float] = {}
        self._told: dict[str, float] = {}

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def on_plan(self, plan: Plan) -> None:
        """Takes note of a plan that has grown."""
        self._labels |= {step.key: step.label for step in plan.steps}
        self._progress.update(self._all, total=_known(plan))

    def on_event(self, event: Event) -> None:
        """Shows what an executor says."""
        match event:
            case StepStarted(key=key):
                self._start(key)
            case StepProgressed(key=key, progress=progress):
                self._update(key, progress)
            case StepSucceeded(key=key):
                self._end(key)
                self._progress.advance(self._all)
                if not self.console.is_terminal:
                    seconds = time.monotonic() - self._began.get(key, time.monotonic())
                    self.console.print(Text(f"done in {seconds:.1f} s: {self._label(key)}"), soft_wrap=True)
            case StepFailed(key=key, reason=reason, attempt=attempt):
                self._end(key)
                self.console.print(Text(f"{reason} in attempt {attempt}: {self._label(key)}", style="red"))
            case StepWaits(key=key, seconds=seconds, reason=reason, attempt=attempt):
                words = f"attempt {attempt} in {seconds:.0f} s after {reason}: {self._label(key)}"
                self.console.print(Text(words, style="yellow"), soft_wrap=True)
            case ServerDied(stage=stage, status=status):
                self.console.print(Text(f"the {stage} server ended with status {status}", style="yellow"))

    def _label(self, key: str) -> str:
        return self._labels.get(key, "write the report")

    def _start(self, key: str) -> None:
        if key not in self._tasks:
            self._began[key] = time.monotonic()
            self._tasks[key] = self._progress.add_task(escape(self._label(key)), total=None, rate="")

    def _update(self, key: str, progress: StepProgress) -> None:
        self._start(key)
        figures = "  ".join(f"{name} {value:.4g}" for name, value in sorted(progress.figures.items()))
        rate = f"{progress.rate:,.0f} {progress.unit}/s" if progress.rate > 0 else ""
        activity = f": {escape(progress.activity)}" if progress.activity else ""
        self._progress.update(
            self._tasks[key],
            completed=progress.done,
            total=progress.total or None,
            description=f"{escape(self._label(key))}{activity}",
            rate=f"{rate}  {figures}".strip(),
        )
        now = time.monotonic()
        if not self.console.is_terminal and now - self._told.get(key, self._began[key]) >= LINE_SECONDS:
            self._told[key] = now
            self.console.print(Text(line_of(self._label(key), progress)), soft_wrap=True)

    def _end(self, key: str) -> None:
        if (task := self._tasks.pop(key, None)) is not None:
            self._progress.remove_task(task)


def line_of(label: str, progress: StepProgress) -> str:
    """How far a step is, as a line of a log: what is done, the rate, the time left where it is known, the figures."""
    total = f" of {progress.total:,}" if progress.total else ""
    parts = [
        f"{label}: {f'{progress.activity}, ' if progress.activity else ''}{progress.done:,}{total} {progress.unit}"
    ]
    if progress.rate > 0:
        parts.append(f"{progress.rate:,.0f} {progress.unit}/s")
        if progress.total > progress.done:
            parts.append(f"{seconds_words((progress.total - progress.done) / progress.rate)} left")
    parts += [f"{name} {value:.4g}" for name, value in sorted(progress.figures.items())]
    return "  ".join(parts).rstrip()


def _known(plan: Plan) -> int:
    """Steps of a draft with its report, which is planned last."""
    return len(plan.steps) + 1


def print_failure(console: Console, failure: StepFailed, *, label: str) -> None:
    """Prints why a step failed for good: the user's violations, or the error with the tail of its log."""
    console.print(Text(f"failed: {label} (key {failure.key[:KEY_DIGITS]})", style="bold red"), soft_wrap=True)
    if isinstance(failure.error, UserError):
        print_error(console, failure.error)
        return
    console.print(Text(f"  {failure.reason}: {failure.message}"), soft_wrap=True)
    for line in failure.log_tail.splitlines():
        console.print(Text(f"  | {line}"), soft_wrap=True)
