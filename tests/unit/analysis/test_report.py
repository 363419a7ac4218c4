"""The report as a whole: what a trial's artifacts become, byte for byte and safe to open."""

import json
from collections.abc import Callable
from html.parser import HTMLParser
from typing import Any

import numpy as np
import pytest

from syntrial.analysis.pictures import strip
from syntrial.analysis.report import write_report
from syntrial.documents.document import as_json
from syntrial.documents.projection import Projection
from syntrial.documents.search import Decision, TrialFigures
from syntrial.errors import Cancelled
from syntrial.rpc.testing import fake_key, run_step
from syntrial.v1.analysis_pb2 import CellComparison

Role = CellComparison.Role


def written(trial: Any) -> tuple[dict[str, Any], str]:
    context = trial.context()
    write_report(trial.request, context)
    member = context.result("report")
    return member.json("report.json"), member.read("report.html").decode()


class Page(HTMLParser):
    """Collects what a browser would load or run, and checks that tags are closed."""

    VOID = frozenset({"meta", "img", "br", "link", "input", "hr"})

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: set[str] = set()
        self.loads: list[str] = []
        self.handlers: list[str] = []
        self.ids: list[str] = []
        self.anchors: list[str] = []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        if tag not in self.VOID:
            self.open.append(tag)
        for name, value in attrs:
            if name in {"src", "srcset", "data", "action", "poster"} or (name == "href" and tag != "a"):
                self.loads.append(value or "")
            if name == "href" and tag == "a":
                self.anchors.append(value or "")
            if name.startswith("on"):
                self.handlers.append(name)
            if name == "id":
                self.ids.append(value or "")

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in self.VOID:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self.open
        assert self.open[-1] == tag, f"</{tag}> closes <{self.open[-1]}>"
        self.open.pop()


def test_the_same_trial_gives_the_same_bytes(made_up_trial: Callable[..., Any]) -> None:
    def bytes_of() -> tuple[bytes, bytes]:
        trial = made_up_trial().small()
        trial.synthetic("edm")
        context = trial.context()
        write_report(trial.request, context)
        member = context.result("report")
        return member.read("report.json"), member.read("report.html")

    assert bytes_of() == bytes_of()


def test_another_trial_gives_another_report(made_up_trial: Callable[..., Any]) -> None:
    first, _ = written(made_up_trial(seed=1).small())
    second, _ = written(made_up_trial(seed=2).small())
    assert first["verdict"]["estimate"] != second["verdict"]["estimate"]


def test_the_page_loads_nothing_and_runs_nothing(made_up_trial: Callable[..., Any]) -> None:
    trial = made_up_trial().small()
    trial.synthetic("edm", copies=2)
    _, html = written(trial)
    page = Page(html)
    assert page.open == []
    assert page.loads
    assert all(load.startswith("data:image/png;base64,") for load in page.loads)
    assert "script" not in page.tags
    assert "link" not in page.tags
    assert page.handlers == []
    for word in ("http://", "https://", "url(", "@import"):
        assert word not in html


def test_every_link_of_the_page_leads_somewhere_on_it(made_up_trial: Callable[..., Any]) -> None:
    trial = made_up_trial().small()
    trial.synthetic("edm")
    _, html = written(trial)
    page = Page(html)
    assert len(set(page.ids)) == len(page.ids)
    assert {anchor.removeprefix("#") for anchor in page.anchors} <= set(page.ids)


def test_hostile_names_are_text(made_up_trial: Callable[..., Any]) -> None:
    hostile = "<script>alert('x')</script>"
    trial = made_up_trial(classes=("normal", hostile), channels=3).small()
    trial.synthetic('"><img src=x onerror=alert(1)>')
    trial.request.title = hostile
    trial.request.experiment = f"name: {hostile}"
    trial.request.qualifications.append(hostile)
    trial.request.looks.add(number=2, evaluations=fake_key("two"), changed=[hostile])
    _, html = written(trial)
    page = Page(html)
    assert "script" not in page.tags
    assert page.handlers == []
    assert "&lt;script&gt;" in html


def test_every_figure_and_every_number_names_its_keys(made_up_trial: Callable[..., Any]) -> None:
    trial = made_up_trial().small()
    trial.synthetic("edm", copies=2)
    report, html = written(trial)
    known = {source["key"] for source in report["provenance"]}
    named = [report["verdict"], *report["comparisons"], *report["arms"], *report["figures"], *report["synthetic"]]
    named += [report["dataset"], *report["roc"]["curves"], *report["training_curves"]]
    for tree in named:
        assert tree["keys"]
        assert set(tree["keys"]) <= known
    ids = Page(html).ids
    assert {figure["id"] for figure in report["figures"]} <= set(ids)


def test_the_report_holds_no_time(made_up_trial: Callable[..., Any]) -> None:
    report, _ = written(made_up_trial().small())
    text = json.dumps(report)
    assert "timestamp" not in text
    assert "seconds" not in text


@pytest.mark.parametrize(
    "options",
    [
        {"classes": tuple(f"tissue {index}" for index in range(9)), "channels": 3, "test_images": 270},
        {"classes": ("mass", "nodule", "effusion"), "multi_label": True, "test_images": 240},
        {"metric": "METRIC_ACCURACY"},
        {"metric": "METRIC_BALANCED_ACCURACY"},
    ],
    ids=["nine classes in colour", "several labels", "accuracy", "balanced accuracy"],
)
def test_every_task_and_metric_has_a_report(made_up_trial: Callable[..., Any], options: dict[str, Any]) -> None:
    trial = made_up_trial(**options).small()
    trial.synthetic("edm")
    report, html = written(trial)
    assert Page(html).open == []
    assert report["verdict"]["outcome"] in {"improves", "harms", "equivalent", "inconclusive"}
    per_class = {curve["class"] for curve in report["roc"]["curves"]} - {None}
    assert per_class == (set(report["classes"]) if len(report["classes"]) > 2 else set())


def test_one_replicate_is_enough_for_a_report_and_qualifies_it(made_up_trial: Callable[..., Any]) -> None:
    report, html = written(made_up_trial().small(replicates=1))
    assert Page(html).open == []
    assert report["verdict"]["replicates"] == 1
    assert {found["outcome"] for found in report["comparisons"]} == {"inconclusive"}
    assert {found["p_value"] for found in report["comparisons"]} == {None}
    found = [q for q in report["qualifications"] if q["kind"] == "undecided"]
    assert [q["severity"] for q in found] == ["serious"]
    assert "over patients alone" in html


def test_a_trial_without_any_error_is_written_without_nonsense(made_up_trial: Callable[..., Any]) -> None:
    trial = made_up_trial(test_images=24).small(skill=900.0)
    for key, member in trial.inputs:
        if member == "predictions":
            trial.inputs[key, member]["scores.npy"] = np.eye(2)[trial.labels]
    report, html = written(trial)
    assert Page(html).open == []
    verdict = report["verdict"]
    assert (verdict["estimate"], verdict["standard_error"], verdict["interval_95"]) == (0.0, 0.0, None)
    assert (verdict["outcome"], verdict["p_value"], verdict["detectable_effect"]) == ("inconclusive", None, None)
    assert report["arms"][0]["metrics"]["auroc"] == {"mean": 1.0, "interval_95": None, "per_replicate": [1.0] * 3}
    for nonsense in ("0.0000 to 0.0000", "1.0000 to 1.0000", "detect 0.0000", "detected 0.0000"):
        assert nonsense not in html


def test_a_harm_within_the_margin_does_not_shout(made_up_trial: Callable[..., Any]) -> None:
    trial = made_up_trial(test_images=600, margin=0.3)
    trial.compare(trial.cell("augment-100", "edm", skill=1.2), trial.cell("real"), Role.ROLE_PRIMARY)
    report, html = written(trial)
    assert (report["verdict"]["outcome"], report["verdict"]["by_less_than_margin"]) == ("harms", True)
    assert "The synthetic images harmed, by less than what matters" in html
    assert '<div class="verdict harms small">' in html


def test_a_set_of_which_nothing_was_rejected_has_no_strip_of_rejects(made_up_trial: Callable[..., Any]) -> None:
    trial = made_up_trial().small()
    trial.synthetic("edm", rejected=0)
    report, html = written(trial)
    assert not [figure for figure in report["figures"] if figure["id"].startswith("rejected")]
    assert "Rejected by the filters" not in html


def test_cells_that_saw_other_test_images_are_refused(made_up_trial: Callable[..., Any]) -> None:
    trial = made_up_trial().small()
    cell = trial.request.cells[1].replicates[0].predictions
    predictions = dict(trial.inputs[cell.key, cell.member])
    predictions["labels.npy"] = np.roll(trial.labels, 1)
    trial.inputs[cell.key, cell.member] = predictions
    with pytest.raises(ValueError, match="other test images"):
        write_report(trial.request, trial.context())


def test_a_comparison_of_an_unknown_cell_is_refused(made_up_trial: Callable[..., Any]) -> None:
    trial = made_up_trial().small()
    trial.compare("augment-900 edm small-cnn", "real small-cnn", Role.ROLE_EXPLORATORY)
    with pytest.raises(ValueError, match="augment-900"):
        write_report(trial.request, trial.context())


def test_there_is_exactly_one_primary_comparison(made_up_trial: Callable[..., Any]) -> None:
    trial = made_up_trial().small()
    trial.request.comparisons[1].role = Role.ROLE_PRIMARY
    with pytest.raises(ValueError, match="one primary"):
        write_report(trial.request, trial.context())


def test_the_report_stops_when_it_is_asked_to(made_up_trial: Callable[..., Any]) -> None:
    trial = made_up_trial().small()
    with pytest.raises(Cancelled):
        write_report(trial.request, trial.context(cancel_after=2))


def test_the_step_runs_as_a_server_runs_it(made_up_trial: Callable[..., Any]) -> None:
    trial = made_up_trial().small()
    store = trial.context().store
    key = run_step(write_report, trial.request, store)
    manifest = store.manifest(key)
    assert manifest is not None
    assert set(manifest.members) == {"report"}
    assert len(manifest.inputs) == len(trial.inputs)


def test_a_report_of_classifiers_has_no_empty_sections_and_calls_them_by_their_names(
    made_up_trial: Callable[..., Any],
) -> None:
    report, page = written(made_up_trial().networks(skill=4.0))
    verdict = report["verdict"]
    assert (verdict["arm_label"], verdict["control_label"]) == ("resnet18", "small-cnn")
    assert verdict["speaks_of"] == "these classifiers"
    assert verdict["outcome"] == "improves"
    assert "Resnet18 did better than small-cnn on real test images." in page
    for absent in ("Synthetic sets", "Real beside synthetic", "The synthetic images", "controls answer", "generator"):
        assert absent not in page, absent


def test_the_least_diverse_class_stands_in_the_table_of_sets(made_up_trial: Callable[..., Any]) -> None:
    trial = made_up_trial().small()
    trial.synthetic("edm")
    figures = {"sample_size": 100, "synthetic": 4.0, "real": 40.0, "floor": 0.85}
    trial.inputs[fake_key("assess edm"), "quality"]["quality.json"]["diversity_by_class"] = {
        "normal": figures | {"ratio": 0.1, "interval_95": [0.08, 0.13]},
        "pneumonia": figures | {"ratio": 0.9, "interval_95": [0.8, 1.01]},
    }
    report, page = written(trial)
    assert '0.10<span class="sub">0.08 to 0.13</span><span class="sub">normal</span>' in page
    assert report["qualifications"][1]["kind"] == "collapse"
    assert not Page(page).open


def test_fid_and_kid_stand_in_the_table_with_their_floors_counts_and_network_and_nowhere_without_them(
    made_up_trial: Callable[..., Any],
) -> None:
    trial = made_up_trial().small()
    trial.synthetic("edm")
    trial.synthetic("pca")
    _, plain = written(trial)
    assert "FID" not in plain
    trial.inputs[fake_key("assess edm"), "quality"]["quality.json"]["inception"] = trial.inception(1_500)
    report, page = written(trial)
    assert '120<span class="sub">÷ floor 1.5</span><span class="sub">1\u202f500 images</span>' in page
    assert '0.031<span class="sub">floor -0.0021 to 0.0023</span><span class="sub">1\u202f500 images</span>' in page
    assert "2,048 features of inception-v3 of 2015-12-05 (weights sha256:aaaaaaaaaaaa…, images at 299 px)" in page
    assert "fid" in {one["kind"] for one in report["qualifications"]}
    assert not Page(page).open
    # A set that has neither has as many columns.
    table = page[page.index("<th>made by</th>") : page.index("</table>", page.index("<th>made by</th>"))]
    header, *rows = table.split("<tr>")
    assert len(rows) == 2
    assert {row.count("<td") for row in rows} == {header.count("<th") + 1}


def test_a_projection_is_drawn_with_its_keys_and_stands_in_no_report_that_has_none(
    made_up_trial: Callable[..., Any],
) -> None:
    trial = made_up_trial().small()
    trial.synthetic("edm")
    plain, page = written(trial)
    assert 'id="projection"' not in page
    assert "projection" not in {figure["id"] for figure in plain["figures"]}
    assert all("projection" not in found for found in plain["synthetic"])
    document = Projection(
        version=1,
        method="umap",
        neighbours=15,
        min_dist=0.1,
        shown={"real": 2, "accepted": 1, "rejected": 1},
        of={"real": 90, "accepted": 1, "rejected": 1},
    )
    member = trial.put(
        "project edm",
        "projection",
        {
            "projection.json": as_json(document),
            "coordinates.npy": np.array([[0, 0], [1, 0], [0, 2], [5, 5]], np.float32),
            "kinds.npy": np.array([0, 0, 1, 2], np.uint8),
            "groups.npy": np.array([0, 1, 1, 0]),
        },
    )
    next(one for one in trial.request.synthetic if one.name == "edm").projection.CopyFrom(member)
    report, page = written(trial)
    (figure,) = (figure for figure in report["figures"] if figure["id"] == "projection")
    assert figure["keys"] == [member.key]
    # Each image once by what it is and once by its class.
    drawn = page.split("Images by their features</h3>")[1].split("</figure>")[0]
    assert drawn.count("<circle") == 2 * 4
    assert "2 real, 1 accepted, 1 rejected" in drawn
    (found,) = (one["projection"] for one in report["synthetic"] if "projection" in one)
    assert (found["x"], found["y"], found["kind"]) == ([0, 1, 0, 5], [0, 0, 2, 5], [0, 0, 1, 2])


def test_a_classifier_s_search_stands_beside_those_of_sets_and_one_that_only_one_side_had_is_told_first(
    made_up_trial: Callable[..., Any],
) -> None:
    trial = made_up_trial()
    tuned, plain = (trial.cell("real", classifier=name) for name in ("tuned", "plain"))
    trial.compare(tuned, plain, Role.ROLE_PRIMARY)
    found, _ = written(trial)
    assert "classifiers" not in found
    assert "search" not in {one["kind"] for one in found["qualifications"]}
    trials = tuple(
        TrialFigures(
            number=number,
            parameters={"learningRate": 0.1},
            title="",
            figures=(0.7 + number / 10,),
            pruned=False,
            failed="",
        )
        for number in (0, 1)
    )
    decision = Decision(version=1, kind="choose", best=1, objective="auroc", trials=trials)
    member = trial.put("choose tuned", "decision", {"decision.json": as_json(decision)})
    trial.request.classifiers.add(classifier="tuned", search=member, replicates=3)
    report, page = written(trial)
    (searched,) = report["classifiers"]
    assert (searched["name"], searched["replicates"], searched["search"]["keys"]) == ("tuned", 3, [member.key])
    told = " ".join(page.split("Searches</h2>")[1].split())
    assert "<h3>classifier tuned" in told
    assert "A figure is the mean of 3 trainings on the real training images by seeds that no arm has" in told
    assert "Real images reach" not in told
    (doubt,) = (one for one in report["qualifications"] if one["kind"] == "search")
    assert doubt["severity"] == "serious"
    assert doubt["words"].startswith("The searches differ: of tuned 2 trials chose how it is trained, of plain 1.")
    assert doubt["keys"] == [member.key]
    assert member.key in {source["key"] for source in report["provenance"]}


def test_a_search_stands_with_its_trials_and_says_that_the_test_split_was_not_opened(
    made_up_trial: Callable[..., Any],
) -> None:
    trial = made_up_trial().small()
    trial.synthetic("gan")
    plain, page = written(trial)
    assert 'id="search"' not in page
    assert all("search" not in found for found in plain["synthetic"])

    def tried(number: int, *figures: float, **more: Any) -> TrialFigures:
        fields = {"title": "", "pruned": False, "failed": "", "parameters": {"gamma": number / 10}}
        return TrialFigures(number=number, figures=figures, **fields | more)

    trials = (
        tried(0, 0.7, 0.71, title="as it is written"),
        tried(1, 0.6, pruned=True),
        tried(2, failed="train: UserError: <b>no number</b>"),
        tried(3, 0.75, 0.8),
    )
    decision = Decision(version=1, kind="choose", best=3, objective="auroc", reference=0.9, trials=trials)
    member = trial.put("choose gan", "decision", {"decision.json": as_json(decision)})
    next(one for one in trial.request.synthetic if one.name == "gan").search.CopyFrom(member)
    report, page = written(trial)
    (figure,) = (figure for figure in report["figures"] if figure["id"] == "search")
    assert figure["keys"] == [member.key]
    drawn = page.split("Searches</h2>")[1].split("</figure>")[0]
    # One of the four gave no figure.
    assert drawn.count("<circle") == 3
    told = " ".join(page.split())
    assert "never by the test split, which was opened when trial 3 was chosen and on record" in told
    assert "Real images reach 0.9000 by the same judge." in told
    assert "<td>gamma 0</td>" not in told
    assert 'gamma 0<span class="sub">as it is written</span>' in told
    assert "failed: train: UserError: &lt;b&gt;no number&lt;/b&gt;" in told
    assert not Page(page).open
    (found,) = (one["search"] for one in report["synthetic"] if "search" in one)
    assert found["best"] == 3


@pytest.mark.parametrize(("lowest", "part"), [(False, 1), (True, 0)])
def test_snapshots_stand_as_a_curve_and_as_strips_of_the_same_items_with_the_moment_that_was_chosen(
    made_up_trial: Callable[..., Any], lowest: bool, part: int
) -> None:
    trial = made_up_trial().small()
    trial.synthetic("gan")
    figures = (0.6, 0.8, 0.7)
    one = TrialFigures(
        number=0, parameters={}, title="as it is written", figures=figures, pruned=False, failed="", part=part
    )
    objective = "frechet" if lowest else "auroc"
    decision = Decision(
        version=1,
        kind="choose",
        best=0,
        objective=objective,
        lowest=lowest,
        reference=0.9,
        trials=(one,),
    )
    (summary,) = (one for one in trial.request.synthetic if one.name == "gan")
    summary.search.CopyFrom(trial.put("choose gan", "decision", {"decision.json": as_json(decision)}))
    members = [trial.put(f"sample {n}", "images", trial.image_set(f"gan {n}", 40)) for n in range(3)]
    for number, member in enumerate(members):
        summary.snapshots.add(images_shown=1000 * (number + 1), images=member)
    report, page = written(trial)
    (found,) = (one["search"] for one in report["synthetic"] if "search" in one)
    assert found["images_shown"] == [1000, 2000, 3000]
    (gallery,) = (figure for figure in report["figures"] if figure["id"] == "snapshots-0")
    assert gallery["keys"] == [member.key for member in members]
    assert {member.key for member in members} <= {source["key"] for source in report["provenance"]}
    section = page.split("Searches</h2>")[1].split("</section>")[0]
    drawn = section.split("</figure>")[0]
    # The moments, with the chosen one over its own; one trial has no panel of trials.
    assert drawn.count("<circle") == 3 + 1
    assert "by trial" not in drawn
    told = " ".join(section.split())
    chosen = f"{part + 1}\u202f000 images shown"
    assert f"opened when trial 0, as it was after {part + 1} 000 images shown, was chosen and on record" in told
    assert f"moment {part + 1} of 3" in told
    assert "from the left 6 normal, 6 pneumonia" in told
    rows = section.split('<div class="strips">')[1]
    assert rows.count('class="strip"') == 3
    assert f"{chosen}</b><small>{figures[part]:.4f}, chosen</small>" in rows
    assert rows.count("chosen") == 1
    # Each strip has the first of each class of its own set.
    for number, member in enumerate(members):
        images = trial.inputs[(member.key, "images")]
        rows_of = [*range(0, 12, 2), *range(1, 12, 2)]
        assert strip([images.images_NHWC[row] for row in rows_of]) in rows, number
    assert not Page(page).open


def test_a_trial_that_was_stopped_early_is_told_as_chosen_where_a_moment_of_it_was(
    made_up_trial: Callable[..., Any],
) -> None:
    trial = made_up_trial().small()
    trial.synthetic("gan")
    trials = tuple(
        TrialFigures(number=n, parameters={"gamma": n}, title="", figures=figures, pruned=n == 1, failed="", part=1 - n)
        for n, figures in enumerate([(0.6, 0.7), (0.8,)])
    )
    decision = Decision(version=1, kind="choose", best=1, objective="auroc", trials=trials)
    (summary,) = (one for one in trial.request.synthetic if one.name == "gan")
    summary.search.CopyFrom(trial.put("choose gan", "decision", {"decision.json": as_json(decision)}))
    summary.snapshots.add(images_shown=10, images=trial.put("sample", "images", trial.image_set("gan 0", 40)))
    _, page = written(trial)
    section = page.split("Searches</h2>")[1].split("</section>")[0]
    assert "<td>chosen</td>" in section
    assert "<td>stopped early</td>" not in section
    # Two trials; one moment, with the chosen one over it.
    assert section.split("</figure>")[0].count("<circle") == 2 + 2
