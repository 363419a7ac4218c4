"""What a person sees in a terminal: the plan as tables, and the live progress of a run.

Rendering alone, by rich; called by the command line. Nothing here decides anything.
"""

from collections import Counter
from collections.abc import Collection, Mapping

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

from syntrial.errors import UserError
from syntrial.plan import Plan, Step
from syntrial.v1.analysis_pb2 import CellComparison
from syntrial.v1.progress_pb2 import StepProgress

KEY_DIGITS = 12
"""Digits of a key that are shown; enough to be unique in any store."""


def print_error(console: Console, error: UserError) -> None:
    """Prints what a user must change, a violation a paragraph, without a traceback."""
    for violation in error.violations:
        console.print(Text(f"error: {violation.field}", style="bold red"))
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


class LiveProgress:
    """The running steps of a run, a line each, above a bar that counts all steps.

    Where the output is no terminal, each step's end is a line of its own instead.
    """

    def __init__(self, console: Console, steps: Mapping[str, Step], *, done: int) -> None:
        self.console = console
        self._steps = dict(steps)
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
        self._all = self._progress.add_task("[bold]steps[/]", total=len(steps) + done, completed=done, rate="")
        self._tasks: dict[str, TaskID] = {}

    def __enter__(self) -> "LiveProgress":
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def started(self, key: str) -> None:
        """A step began."""
        if key not in self._tasks:
            label = escape(self._steps[key].label)
            self._tasks[key] = self._progress.add_task(label, total=None, rate="")

    def progressed(self, key: str, progress: StepProgress) -> None:
        """A running step said how far it is."""
        self.started(key)
        figures = "  ".join(f"{name} {value:.4g}" for name, value in sorted(progress.figures.items()))
        rate = f"{progress.rate:,.0f} {progress.unit}/s" if progress.rate > 0 else ""
        self._progress.update(
            self._tasks[key],
            completed=progress.done,
            total=progress.total or None,
            description=f"{escape(self._steps[key].label)}: {escape(progress.activity)}",
            rate=f"{rate}  {figures}".strip(),
        )

    def ended(self, key: str, *, outcome: str) -> None:
        """A step came to an end: "done", or why not."""
        if (task := self._tasks.pop(key, None)) is not None:
            self._progress.remove_task(task)
        if outcome == "done":
            self._progress.advance(self._all)
        if not self.console.is_terminal or outcome != "done":
            self.console.print(Text(f"{outcome}: {self._steps[key].label}"), soft_wrap=True)
