"""A trial's status as a person reads it, of a trial here or there; rendering alone."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from rich.console import Group, RenderableType
from rich.markup import escape
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from syntrial.trial.status import SUCCEEDED, VALID, TrialStatus
from syntrial.v1.progress_pb2 import StepProgress

KEY_DIGITS: Final = 12
_BAR: Final = 24


def status_view(found: TrialStatus, *, running: Mapping[str, StepProgress], spelling: str) -> RenderableType:
    """The whole status: conditions, steps by stage, what runs and how fast, what waits and why, failures, verdict.

    `running` holds the progress of steps by label; `spelling` is what a user types to mean the trial.
    """
    status = found.found
    parts: list[RenderableType] = [_heading(found)]
    if not status:
        parts.append(Text("no status yet: is the controller running? (`make deploy` installs it)", style="yellow"))
    parts += _block(_conditions(status.get("conditions", ())))
    parts += _block(_stages(status))
    if running:
        parts += _block(_running(running))
    parts += [_line(item, style="yellow", mark="waits") for item in status.get("pending", ())]
    for failure in status.get("failures", ()):
        key = str(failure.get("key", ""))[:KEY_DIGITS]
        parts.append(Text(f"failed: {failure.get('label', '')} (key {key})", style="bold red"))
        parts.append(Text(f"  {failure.get('reason', '')}: {failure.get('message', '')}"))
    if verdict := status.get("verdict"):
        parts += _block(_verdict(verdict, endpoint=str(status.get("endpoint", ""))))
    if report := status.get("report"):
        parts.append(Text(f"report: {report.get('address', '')}"))
    if following := next_command(found, spelling=spelling):
        parts.append(Text(f"next: {following}"))
    return Group(*parts)


def status_line(found: TrialStatus) -> str:
    """The counts in one line, for output that is no terminal."""
    words = [_heading(found).plain]
    words += [f"{item.get('reason', '')}: {item.get('message', '')}" for item in found.found.get("pending", ())]
    return "; ".join(words)


def next_command(found: TrialStatus, *, spelling: str) -> str:
    """The command that a person would use next, or "" while a trial is under way."""
    if found.condition(VALID) == "False":
        return "mend the experiment, then submit it again"
    if found.condition(SUCCEEDED) == "True":
        return f"syntrial report {spelling} --open"
    if found.found.get("failures"):
        return f"syntrial logs {spelling}; mend the cause, then syntrial retry {spelling}"
    if found.waits_for:
        return f"syntrial {found.waits_for} {spelling}, which takes it up where it stands"
    return ""


def seconds_words(seconds: float) -> str:
    """A time for a person: "40 s", "5 min", "2 h 10 min"."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60:02d} min"


def _heading(found: TrialStatus) -> Text:
    steps = found.found.get("steps", {})
    words = [f"{steps.get('done', 0)} of {steps['total']} steps done"] if steps.get("total") else []
    words += [f"{steps[name]} {name}" for name in ("running", "waiting", "failed") if steps.get(name)]
    if (left := found.found.get("secondsLeft")) is not None:
        words.append(f"about {seconds_words(float(left))} left")
    if found.is_suspended:
        words.append("suspended")
    if found.is_behind:
        words.append("the last change is not taken up yet")
    text = Text(found.title, style="bold")
    return text.append(f"  {'; '.join(words)}" if words else "", style="not bold")


def _conditions(conditions: Sequence[Mapping[str, Any]]) -> Table | None:
    if not conditions:
        return None
    table = Table("condition", "", "reason", "message", box=None, header_style="bold", pad_edge=False)
    for item in conditions:
        value = str(item.get("status", "Unknown"))
        style = "green" if value == "True" else "red" if value == "False" and item["type"] == "Valid" else ""
        table.add_row(
            str(item["type"]),
            Text(value, style=style),
            escape(str(item.get("reason", ""))),
            escape(str(item.get("message", ""))),
        )
    return table


def _stages(status: Mapping[str, Any]) -> Table | None:
    stages = status.get("stages", ())
    if not stages:
        return None
    table = Table("stage", "", "done", "running", "failed", box=None, header_style="bold", pad_edge=False)
    for stage in stages:
        total, done = int(stage.get("total", 0)), int(stage.get("done", 0))
        filled = _BAR * done // total if total else 0
        bar = Text("━" * filled, style="green").append("━" * (_BAR - filled), style="dim")
        failed = int(stage.get("failed", 0))
        table.add_row(
            escape(str(stage["name"])),
            bar,
            f"{done}/{total}",
            str(stage.get("running", 0) or ""),
            Text(str(failed or ""), style="red"),
        )
    return table


def _running(running: Mapping[str, StepProgress]) -> Table:
    table = Table("running", "", "done", "rate", "left", "", box=None, header_style="bold", pad_edge=False)
    for label, progress in sorted(running.items()):
        share = f"{progress.done:,} of {progress.total:,} {progress.unit}" if progress.total else ""
        rate = f"{progress.rate:,.0f} {progress.unit}/s" if progress.rate > 0 else ""
        has_end = progress.rate > 0 and progress.total > progress.done
        left = seconds_words((progress.total - progress.done) / progress.rate) if has_end else ""
        figures = "  ".join(f"{name} {value:.4g}" for name, value in sorted(progress.figures.items()))
        table.add_row(escape(label), escape(progress.activity), share, rate, left, figures)
    return table


def _line(item: Mapping[str, Any], *, style: str, mark: str) -> Text:
    count = f" ({item['count']})" if int(item.get("count", 1) or 1) > 1 else ""
    return Text(f"{mark}: ", style=style).append(
        f"{item.get('reason', '')}{count}: {item.get('message', '')}", style="default"
    )


def _verdict(verdict: Mapping[str, Any], *, endpoint: str) -> RenderableType:
    decision = str(verdict.get("decision", ""))
    style = {"improves": "green", "harms": "red", "equivalent": "blue"}.get(decision, "yellow")
    # What is too small to matter is not shouted.
    shown = f"{decision.capitalize()} by less than the margin" if verdict.get("byLessThanMargin") else decision.upper()
    heading = Text(shown, style=f"bold {style}").append(f"  {endpoint}", style="not bold default")
    return Group(heading, Text(str(verdict.get("words", ""))))


def _block(item: RenderableType | None) -> list[RenderableType]:
    return [] if item is None else [Padding(item, (1, 0, 0, 0))]
