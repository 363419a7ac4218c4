"""What qualifies a verdict: everything a careful reader would ask about before believing it.

One function for each question, each pure, from the tree of `report.json` (and the data's shape) to qualifications. A
`serious` one is a reason to doubt the verdict's outcome or its scope; a `note` is what a reader should know.
"""

from collections.abc import Iterator, Sequence

from syntrial.analysis import qualify_sets
from syntrial.analysis.charts import number, signed
from syntrial.analysis.findings import baseline_cell
from syntrial.analysis.qualification import qualification
from syntrial.analysis.reading import CellData, Json, TrialData
from syntrial.counting import counted
from syntrial.documents.training import TrainedPhase
from syntrial.errors import listed
from syntrial.imagesets.structure import UNLABELLED

FEW_REPLICATES = 3
"""Fewer paired replicates than this make an interval that leans on its distribution's assumptions."""
SHIFT_P = 0.01
"""Class proportions of two splits differ where the audit's test gives less than this."""
NEAR_SHARE = 0.05
"""Near duplicates of test images in another split, over the test images, above which they are serious."""
OF_TRIAL = "the trial's "
"""How the audit of a data set for pretraining calls the trial's splits, before their names."""
HARDWARE_FIELDS = ("processor", "accelerator", "threads", "python", "lock_hash", "image_digest")
"""What of a manifest's provenance must be equal between compared cells."""


def qualifications(data: TrialData, *, report: Json) -> list[Json]:
    """All qualifications: what the verdict speaks of, then serious ones, then notes, in the order of the questions."""
    primary = report["verdict"]
    questions = (
        _undecided(primary),
        qualify_sets.lineage(report, data=data),
        _pretraining(report),
        _pools(report),
        _leaks(report),
        _budgets(report),
        _searched(report),
        _undertrained(report),
        _reversed(data, report=report),
        _missing(report),
        _baseline(data, report=report),
        _filters(report),
        _negative_controls(report),
        qualify_sets.copies(report),
        qualify_sets.diversity(report, data=data),
        qualify_sets.told_apart(report),
        qualify_sets.fid(report),
        _replicates(primary),
        _looks(report),
        _hardware(data, primary=primary),
        _shift(report),
        _findings(report),
        qualify_sets.labels_by_distance(report, data=data),
        qualify_sets.sharpness(data, report=report),
        _data(report),
        _chosen(data),
    )
    found = [qualification for question in questions for qualification in question]
    found.sort(key=lambda qualification: qualification["severity"] != "serious")
    return [_scope(primary, data=data), *found]


def _pretraining(report: Json) -> Iterator[Json]:
    """What each classifier of a chain was trained with before, and what of the trial's images was found in it."""
    for link in report.get("pretraining", ()):
        audit = link["audit"]
        dropped: dict[tuple[str, str], list[str]] = {}
        for leak in _of_trial(audit):
            if leak["dropped"]:
                own, other = leak["between"]
                words = f"{counted(leak['images'], 'image')} by {leak['kind'].replace('-', ' ')}s"
                dropped.setdefault((own, other), []).append(words)
        parts = [f"of {own}, {listed(kinds, last='and')} with {other}" for (own, other), kinds in dropped.items()]
        both = " An image may be both." if any(len(kinds) > 1 for kinds in dropped.values()) else ""
        yield qualification(
            "pretraining",
            f"{link['classifier']} starts from weights trained on {audit['source']} "
            f"({counted(audit['splits']['train']['count'], 'image')}), which was searched for this trial's validation "
            f"and test images. Left out: {'; '.join(parts) or 'none'}.{both}",
            keys=link["keys"],
        )


def _pools(report: Json) -> Iterator[Json]:
    """What unlabelled images each generator was trained on besides, and what of the trial's images was among them."""
    for found in report["synthetic"]:
        if found["control"]:
            continue
        for pool in found.get("unlabelled", ()):
            audit = pool["audit"]
            parts = [
                f"{counted(leak['images'], 'image')} by {leak['kind'].replace('-', ' ')}s with {leak['between'][1]}"
                for leak in _of_trial(audit)
                if leak["dropped"]
            ]
            yield qualification(
                "pretraining",
                f"The generator of {found['name']} was trained on {audit['source']} besides, without labels "
                f"({counted(audit['splits'][UNLABELLED]['count'], 'image')}), which was searched for this trial's "
                f"validation and test images. Left out: {'; '.join(parts) or 'none'}. Classifiers of real images alone "
                "were not shown these images.",
                keys=pool["keys"],
            )


def _of_trial(audit: Json) -> list[Json]:
    """The leaks between a data set for pretraining and the trial's splits."""
    return [leak for leak in audit["leaks"] if leak["between"][1].startswith(OF_TRIAL)]


def _leaks(report: Json) -> Iterator[Json]:
    dataset = report["dataset"]
    tested = dataset["splits"]["test"]["count"]
    audits = [("the data set", dataset["leaks"], tested, dataset["keys"])]
    audits += [(s["name"], s["audit"]["leaks"], 0, s["keys"]) for s in report["synthetic"] if s["audit"]]
    audits += [
        (f"what {link['classifier']} was pretrained with", _of_trial(link["audit"]), tested, link["keys"])
        for link in report.get("pretraining", ())
    ]
    for name, leaks, of, keys in audits:
        waived: dict[str, list[Json]] = {}
        for leak in leaks:
            if leak["action"] == "waive" and leak["count"]:
                waived.setdefault(leak["kind"], []).append(leak)
        for kind, found in waived.items():
            places = ", ".join(f"{leak['count']} {_place(leak['between'])}" for leak in found)
            doubt = "; each may be one image twice, or two images that look alike" if kind == "near-duplicate" else ""
            yield qualification(
                "leaks",
                f"{kind.replace('-', ' ').capitalize()}s in {name} were found and kept: {places}{doubt}.",
                serious=any(leak["between"][1].endswith("test") and _weighs(leak, tested=of) for leak in found),
                keys=keys,
            )


def _weighs(leak: Json, *, tested: int) -> bool:
    """Whether a leak that was kept is a reason to doubt: of near duplicates, where they are many beside the test."""
    return leak["kind"] != "near-duplicate" or (tested > 0 and leak["images"] > NEAR_SHARE * tested)


def _place(sides: Sequence[str]) -> str:
    return f"within {sides[0]}" if len(set(sides)) == 1 else f"between {sides[0]} and {sides[1]}"


def _budgets(report: Json) -> Iterator[Json]:
    """Cells that were trained longer or shorter than what they are compared with, by more than one step in a hundred;
    of two classifiers, by more than one image in a hundred too.
    """
    arms = {arm["cell"]: arm for arm in report["arms"]}
    primary = report["verdict"]
    for comparison in (primary, *report["comparisons"]):
        arm, control = arms[comparison["arm"]], arms[comparison["control"]]
        own, other = arm["optimiser_steps"], control["optimiser_steps"]
        is_primary = comparison["arm"] == primary["arm"] and comparison["control"] == primary["control"]
        if is_primary and comparison is not primary:
            continue
        if arm["classifier"] != control["classifier"]:
            seen = [sum(cell["images_seen"].values()) for cell in (arm, control)]
            if _differ(own, other) or _differ(*seen):
                yield qualification(
                    "budget",
                    f"The budgets differ: {comparison['arm_label']} took {counted(own, 'optimiser step')} over "
                    f"{number(seen[0])} images, {comparison['control_label']} {other:,} over {number(seen[1])}. Each "
                    "was trained as its own recipe has it: what the longer training alone does is part of the "
                    "difference.",
                    serious=is_primary,
                    keys=comparison["keys"],
                )
            continue
        if not _differ(own, other):
            continue
        yield qualification(
            "budget",
            f"The budgets differ: {comparison['arm_label']} took {counted(own, 'optimiser step')}, "
            f"{comparison['control_label']} {other:,}. What the longer training alone does is part of the difference.",
            serious=is_primary,
            keys=comparison["keys"],
        )


def _differ(one: int, other: int) -> bool:
    """By more than one in a hundred."""
    return abs(one - other) > max(one, other) / 100


def _searched(report: Json) -> Iterator[Json]:
    """Two classifiers of which one was searched for more than the other."""
    primary = report["verdict"]
    arms = {arm["cell"]: arm["classifier"] for arm in report["arms"]}
    found = {one["name"]: one["search"] for one in report.get("classifiers", ())}
    sides = [(primary["arm_label"], arms[primary["arm"]]), (primary["control_label"], arms[primary["control"]])]
    tried = [(label, len(found[name]["trials"]) if name in found else 1) for label, name in sides]
    if tried[0][1] != tried[1][1]:
        (label, own), (other_label, other) = tried
        yield qualification(
            "search",
            f"The searches differ: of {label} {counted(own, 'trial')} chose how it is trained, of {other_label} "
            f"{other:,}. What the longer search alone gains is part of the difference.",
            serious=True,
            keys=[
                key for name in dict.fromkeys(name for _, name in sides) if name in found for key in found[name]["keys"]
            ],
        )


def _undertrained(report: Json) -> Iterator[Json]:
    compared = {report["verdict"]["arm"], report["verdict"]["control"]}
    cells = [arm for arm in report["arms"] if arm["undertrained"]]
    for arm in cells:
        of_all = counted(arm["generators"] * arm["replicates"], "replicate" if arm["generators"] == 1 else "training")
        if arm["cell"] in compared:
            yield qualification(
                "undertrained",
                f"{arm['label']} is undertrained: the validation loss still fell at the end of training in "
                f"{arm['undertrained']} of {of_all}. A longer budget may change the verdict.",
                serious=True,
                keys=arm["keys"],
            )
    others = [arm for arm in cells if arm["cell"] not in compared]
    if others:
        names = ", ".join(arm["label"] for arm in others)
        keys = [key for arm in others for key in arm["keys"]]
        yield qualification("undertrained", f"Undertrained beside the primary pair: {names}.", keys=keys)


def _reversed(data: TrialData, *, report: Json) -> Iterator[Json]:
    """Arms that see real images first and end on synthetic ones alone: fine-tuning the other way round."""
    compared = {report["verdict"]["arm"], report["verdict"]["control"]}
    for arm in report["arms"]:
        *before, last = data.cells[arm["cell"]].replicates[0].training.phases
        ends_on_synthetic = _seen(last, "synthetic") > 0 and not _seen(last, "real", "duplicated")
        if ends_on_synthetic and any(_seen(phase, "real", "duplicated") for phase in before):
            yield qualification(
                "order",
                f"{arm['label']} is fine-tuning in reverse: it was trained with real images first, and in its last "
                f"phase on synthetic ones alone ({number(_seen(last, 'synthetic'))}, counted with repetition). What it "
                "lost there of what real images had taught it is part of its result.",
                serious=arm["cell"] in compared,
                keys=arm["keys"],
            )


def _seen(phase: TrainedPhase, *origins: str) -> int:
    """Images of these origins that the phase's batches held."""
    return sum(phase.images_seen.get(origin, 0) for origin in origins)


def _missing(report: Json) -> Iterator[Json]:
    for arm in report["arms"]:
        if arm["synthetic_missing"]:
            yield qualification(
                "missing",
                f"{arm['label']} was trained on {counted(arm['synthetic_missing'], 'synthetic image')} fewer than the "
                "arm asks for: the set does not have them.",
                keys=arm["keys"],
            )


def _baseline(data: TrialData, *, report: Json) -> Iterator[Json]:
    primary, against = report["verdict"], report["baseline"]
    cell = baseline_cell(data, primary=primary)
    if cell is None or against is None:
        return
    less = ", by less than the margin" if against["by_less_than_margin"] else ""
    words = {
        "improves": f"The generator beat the baseline pca{less}.",
        "harms": f"The baseline did better{less}: images drawn by pca, fitted in seconds, gave a better classifier "
        "than the trial's generator.",
        "equivalent": "The baseline pca did as well as the trial's generator, within the margin.",
        "inconclusive": "The generator was not told apart from the baseline pca.",
    }[against["outcome"]]
    # An improvement is the generator's only where it beats what is fitted in seconds.
    unearned = primary["outcome"] == "improves" and against["outcome"] in {"equivalent", "inconclusive"}
    if unearned:
        words += " That the improvement takes this generator was not shown."
    yield qualification(
        "baseline",
        f"{words} {against['arm_label']} minus {against['control_label']}: {_effect(against)}.",
        serious=unearned or against["outcome"] == "harms",
        keys=against["keys"],
    )


def _filters(report: Json) -> Iterator[Json]:
    against = report["random_selection"]
    if against is not None:
        less = ", by less than the margin" if against["by_less_than_margin"] else ""
        words = {
            "improves": f"The filters earned their place: their choice did better than as many images chosen at "
            f"random{less}.",
            "harms": f"The filters did worse than chance: as many images chosen at random did better{less}.",
            "equivalent": "The filters made no difference that matters: as many images chosen at random did as well.",
            "inconclusive": "The filters were not told apart from choosing as many images at random.",
        }[against["outcome"]]
        yield qualification(
            "filters",
            f"{words} Difference {_effect(against)}.",
            serious=against["outcome"] == "harms",
            keys=against["keys"],
        )


def _negative_controls(report: Json) -> Iterator[Json]:
    baseline = report["baseline"]["control"] if report["baseline"] else None
    for found in report["comparisons"]:
        if found["shuffled_labels"] and found["outcome"] == "improves":
            yield qualification(
                "control",
                f"The negative control {found['arm_label']} improves too, which it cannot by what its labels say: the "
                "effect may come from the amount of training rather than from the images.",
                serious=True,
                keys=found["keys"],
            )
        if found["arm"] == baseline and found["outcome"] == "improves" and report["verdict"]["outcome"] != "improves":
            yield qualification(
                "baseline",
                f"The baseline {found['arm_label']} improves where the trial's generator was not shown to.",
                serious=True,
                keys=found["keys"],
            )


def _scope(primary: Json, *, data: TrialData) -> Json:
    """What the verdict speaks of, and which chance is in its interval: true of every trial, so it stands first."""
    speaks_of = {"these images": "these synthetic images", "these classifiers": "these classifiers as trained here"}
    subject = speaks_of.get(primary["speaks_of"], primary["speaks_of"])
    # Replicates of a probe differ by how much each training patient counts, and by nothing else.
    replicates = [replicate for side in ("arm", "control") for replicate in data.cells[primary[side]].replicates]
    resampled = primary["replicates"] > 1 and all(replicate.training.bootstrap for replicate in replicates)
    samples = "patients like the training patients" if resampled else "one training set of real images"
    sentences = [f"The verdict speaks of {subject} and of {samples}."]
    if primary["interval_95"]:
        allowed = ["other test patients"]
        if primary["replicates"] > 1:
            allowed += ["other training patients (by a Bayesian bootstrap)" if resampled else "other seeds"]
        allowed += ["other trainings of the generator"] if primary["generators"] else []
        listed = " and ".join([*([", ".join(allowed[:-1])] if allowed[1:] else []), allowed[-1]])
        sentences.append(f"Its interval allows for {listed}{'' if resampled else ', not for other training images'}.")
    if not resampled:
        sentences.append(
            "With another sample of training patients the effect may be another one; by how much, only several "
            "training sets can show."
        )
    if primary["speaks_of"] == "these images":
        sentences.append("What another training of the generator would give takes three or more replicates of it.")
    return qualification("scope", " ".join(sentences), keys=primary["keys"])


def _undecided(primary: Json) -> Iterator[Json]:
    if primary["undecided"]:
        yield qualification(
            "undecided", f"No outcome was given: {primary['undecided']}.", serious=True, keys=primary["keys"]
        )


def _replicates(primary: Json) -> Iterator[Json]:
    if 1 < primary["replicates"] < FEW_REPLICATES:
        yield qualification(
            "replicates",
            f"{primary['replicates']} paired replicates are few: the interval is wide, since the variance over seeds "
            "is itself uncertain. A third replicate narrows it most.",
            keys=primary["keys"],
        )
    for note in primary["notes"]:
        yield qualification("interval", f"{note[0].upper()}{note[1:]}.", keys=primary["keys"])


def _looks(report: Json) -> Iterator[Json]:
    if len(report["looks"]) > 1:
        last = report["looks"][-1]
        changed = ", ".join(last["changed"]) or "nothing in the specification"
        yield qualification(
            "look",
            f"This is look {last['number']} at this test split; since the one before, the experiment changed in: "
            f"{changed}. Each look makes a chance finding likelier, and the interval does not allow for it.",
            serious=True,
        )


def _hardware(data: TrialData, *, primary: Json) -> Iterator[Json]:
    places = {source.key: source.provenance for source in data.sources}
    for field in HARDWARE_FIELDS:
        found: dict[str, list[str]] = {}
        for side in ("arm", "control"):
            cell: CellData = data.cells[primary[side]]
            for key in (*cell.training_keys, *cell.keys):
                found.setdefault(places[key].get(field, "unknown"), []).append(key)
        if len(found) > 1:
            yield qualification(
                "hardware",
                f"The compared cells were not all made alike: their {field.replace('_', ' ')} differs "
                f"({'; '.join(sorted(found))}).",
                keys=[key for keys in found.values() for key in keys],
            )


def _shift(report: Json) -> Iterator[Json]:
    for shift in report["dataset"]["shifts"]:
        if shift["p_value"] < SHIFT_P:
            first, second = shift["between"]
            yield qualification(
                "shift",
                f"The class proportions of {first} and {second} differ (total variation "
                f"{number(round(shift['total_variation'], 3))}): accuracy in particular depends on them.",
                keys=report["dataset"]["keys"],
            )


def _findings(report: Json) -> Iterator[Json]:
    """What the audits say of properties, omissions, probes and labels: a stop is serious, a warning a note."""
    audits = [("", report["dataset"], report["dataset"]["keys"])]
    audits += [(f"{s['name']}: ", s["audit"], s["keys"]) for s in report["synthetic"] if s["audit"]]
    for name, audit, keys in audits:
        for finding in audit.get("findings", []):
            if finding["grade"] != "pass":
                yield qualification("audit", f"{name}{finding['words']}", serious=finding["grade"] == "stop", keys=keys)


def _data(report: Json) -> Iterator[Json]:
    dataset = report["dataset"]
    if not dataset["splits"]["test"]["patients_known"]:
        yield qualification(
            "patients",
            "The data set does not say which images are of one patient, so each counts as a patient of its own: where "
            "patients have several images, the true interval is wider.",
            keys=dataset["keys"],
        )
    for warning in dataset["warnings"]:
        yield qualification("data", warning, keys=dataset["keys"])
    for synthetic in report["synthetic"]:
        for warning in synthetic["audit"]["warnings"] if synthetic["audit"] else []:
            yield qualification("data", f"{synthetic['name']}: {warning}", keys=synthetic["keys"])


def _chosen(data: TrialData) -> Iterator[Json]:
    for words in data.request.qualifications:
        yield qualification("chosen", words)


def _effect(found: Json) -> str:
    """A comparison's difference with its interval, where it has one, and why nothing was decided, where it was not."""
    over = " over patients alone" if found["replicates"] == 1 else ""
    interval = ", without an interval"
    if found["interval_95"] is not None:
        low, high = (signed(bound) for bound in found["interval_95"])
        interval = f" (95% interval{over} {low} to {high})"
    why = f"; {found['undecided']}" if found["undecided"] else ""
    return f"{signed(found['estimate'])}{interval}{why}"
