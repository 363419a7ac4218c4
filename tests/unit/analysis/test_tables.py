"""What a run prints at its end."""

from collections.abc import Callable
from typing import Any

from rich.console import Console

from syntrial.analysis.report import write_report
from syntrial.analysis.tables import terminal_summary
from syntrial.v1.analysis_pb2 import CellComparison

Role = CellComparison.Role


def printed(trial: Any, *, width: int = 120) -> tuple[dict[str, Any], str]:
    context = trial.context()
    write_report(trial.request, context)
    report = context.result("report").json("report.json")
    console = Console(width=width, record=True, file=None, force_terminal=False)
    with console.capture() as capture:
        console.print(terminal_summary(report))
    return report, capture.get()


def test_the_summary_tells_the_verdict_every_effect_and_every_arm(made_up_trial: Callable[..., Any]) -> None:
    report, text = printed(made_up_trial().small())
    assert report["verdict"]["outcome"].upper() in text
    for comparison in report["comparisons"]:
        assert comparison["arm_label"] in text
    for arm in report["arms"]:
        assert f"{arm['metrics']['auroc']['mean']:.4f}" in text
    for qualification in report["qualifications"]:
        assert qualification["words"].split(":")[0][:60] in text


def test_a_harm_within_the_margin_does_not_shout(made_up_trial: Callable[..., Any]) -> None:
    trial = made_up_trial(test_images=600, margin=0.3)
    trial.compare(trial.cell("augment-100", "edm", skill=1.2), trial.cell("real"), Role.ROLE_PRIMARY)
    _, text = printed(trial)
    assert "HARMS" not in text
    assert "Harms by less than the margin" in text
    assert "harms, small" in text
    loud = made_up_trial(test_images=600, margin=0.001)
    loud.compare(loud.cell("augment-100", "edm", skill=1.2), loud.cell("real"), Role.ROLE_PRIMARY)
    assert "HARMS" in printed(loud)[1]


def test_what_cannot_be_decided_has_no_p_value(made_up_trial: Callable[..., Any]) -> None:
    _, text = printed(made_up_trial().small(replicates=1))
    words = " ".join(text.split())
    assert "p –: no outcome can be given: with one replicate nothing is known of other seeds" in words
    assert "with one replicate the interval is over patients alone" in words
    rows = [line for line in text.splitlines() if line.strip().startswith("augment-100 with edm")]
    assert "–  inconclusive" in rows[0]


def test_generators_are_counted_beside_seeds(made_up_trial: Callable[..., Any]) -> None:
    trial = made_up_trial()
    real = trial.cell("real", replicates=2)
    trial.compare(trial.cell("augment-100", "edm", replicates=2, generators=3), real, Role.ROLE_PRIMARY)
    _, text = printed(trial)
    assert "2 × 3" in text


def test_square_brackets_in_names_are_text(made_up_trial: Callable[..., Any]) -> None:
    trial = made_up_trial().small()
    trial.request.title = "[bold]title[/bold]"
    trial.request.qualifications.append("spec.arms[0] was [red]chosen[/red]")
    _, text = printed(trial)
    assert "[bold]title[/bold]" in text
    assert "spec.arms[0] was [red]chosen[/red]" in text


def test_the_summary_fits_a_narrow_terminal(made_up_trial: Callable[..., Any]) -> None:
    _, text = printed(made_up_trial().small(), width=80)
    assert max(len(line) for line in text.splitlines()) <= 80


def test_a_trial_without_synthetic_images_has_no_column_for_them(made_up_trial: Callable[..., Any]) -> None:
    _, text = printed(made_up_trial().networks())
    assert "effect on AUROC against small-cnn" in text
    assert "synthetic" not in text
