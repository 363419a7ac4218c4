"""What qualifies a verdict: everything a careful reader would ask about before believing it.

One function for each question, each pure, from the tree of `report.json` (and the data's shape) to qualifications. A
`serious` one is a reason to doubt the verdict's outcome or its scope; a `note` is what a reader should know.
"""

from collections.abc import Iterable, Iterator, Sequence

from syntrial.analysis.charts import number, signed
from syntrial.analysis.findings import baseline_cell
from syntrial.analysis.reading import CellData, Json, TrialData
from syntrial.counting import counted
from syntrial.documents.training import TrainedPhase
from syntrial.errors import listed

FEW_REPLICATES = 3
"""Fewer paired replicates than this make an interval that leans on its distribution's assumptions."""
SHIFT_P = 0.01
"""Class proportions of two splits differ where the audit's test gives less than this."""
FAR_RATIO = 3.0
"""Over its floor from which a class's distance is far, where another class lies nearer."""
FAR_NEARER = 1.5
"""How many times nearer that other class must lie."""
LOW_DIVERSITY = 0.8
"""A class is little diverse where all of the interval of its diversity over that of real images lies below this."""
COLLAPSED = 0.5
"""And collapsed where it lies below this."""
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
        _lineage(report, data=data),
        _pretraining(report),
        _leaks(report),
        _budgets(report),
        _undertrained(report),
        _reversed(data, report=report),
        _missing(report),
        _baseline(data, report=report),
        _filters(report),
        _negative_controls(report),
        _copies(report),
        _diversity(report, data=data),
        _replicates(primary),
        _looks(report),
        _hardware(data, primary=primary),
        _shift(report),
        _findings(report),
        _labels_by_distance(report, data=data),
        _sharpness(data, report=report),
        _data(report),
        _chosen(data),
    )
    found = [qualification for question in questions for qualification in question]
    found.sort(key=lambda qualification: qualification["severity"] != "serious")
    return [_scope(primary, data=data), *found]


def _qualification(kind: str, words: str, *, serious: bool = False, keys: Iterable[str] = ()) -> Json:
    return {"kind": kind, "severity": "serious" if serious else "note", "words": words, "keys": list(keys)}


_MADE_ELSEWHERE = "They were searched for copies of validation and test images."
_MADE_BY_A_PROGRAM = (
    "A program of the experiment's own was given the training split alone; what it brought along is not known."
)


def _lineage(report: Json, *, data: TrialData) -> Iterator[Json]:
    used = {data.cells[report["verdict"][side]].synthetic for side in ("arm", "control")}
    for synthetic in report["synthetic"]:
        if not synthetic["proven_lineage"]:
            primary = synthetic["name"] in used
            yield _qualification(
                "lineage",
                f"The lineage of {synthetic['name']} is unproven: nothing shows that what made these images never saw "
                f"the test images. {_MADE_ELSEWHERE if synthetic['audit'] else _MADE_BY_A_PROGRAM}",
                serious=primary,
                keys=synthetic["keys"],
            )


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
        yield _qualification(
            "pretraining",
            f"{link['classifier']} starts from weights trained on {audit['source']} "
            f"({counted(audit['splits']['train']['count'], 'image')}), which was searched for this trial's validation "
            f"and test images. Left out: {'; '.join(parts) or 'none'}.{both}",
            keys=link["keys"],
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
            yield _qualification(
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
                yield _qualification(
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
        yield _qualification(
            "budget",
            f"The budgets differ: {comparison['arm_label']} took {counted(own, 'optimiser step')}, "
            f"{comparison['control_label']} {other:,}. What the longer training alone does is part of the difference.",
            serious=is_primary,
            keys=comparison["keys"],
        )


def _differ(one: int, other: int) -> bool:
    """By more than one in a hundred."""
    return abs(one - other) > max(one, other) / 100


def _undertrained(report: Json) -> Iterator[Json]:
    compared = {report["verdict"]["arm"], report["verdict"]["control"]}
    cells = [arm for arm in report["arms"] if arm["undertrained"]]
    for arm in cells:
        of_all = counted(arm["generators"] * arm["replicates"], "replicate" if arm["generators"] == 1 else "training")
        if arm["cell"] in compared:
            yield _qualification(
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
        yield _qualification("undertrained", f"Undertrained beside the primary pair: {names}.", keys=keys)


def _reversed(data: TrialData, *, report: Json) -> Iterator[Json]:
    """Arms that see real images first and end on synthetic ones alone: fine-tuning the other way round."""
    compared = {report["verdict"]["arm"], report["verdict"]["control"]}
    for arm in report["arms"]:
        *before, last = data.cells[arm["cell"]].replicates[0].training.phases
        ends_on_synthetic = _seen(last, "synthetic") > 0 and not _seen(last, "real", "duplicated")
        if ends_on_synthetic and any(_seen(phase, "real", "duplicated") for phase in before):
            yield _qualification(
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
            yield _qualification(
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
    yield _qualification(
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
        yield _qualification(
            "filters",
            f"{words} Difference {_effect(against)}.",
            serious=against["outcome"] == "harms",
            keys=against["keys"],
        )


def _negative_controls(report: Json) -> Iterator[Json]:
    baseline = report["baseline"]["control"] if report["baseline"] else None
    for found in report["comparisons"]:
        if found["shuffled_labels"] and found["outcome"] == "improves":
            yield _qualification(
                "control",
                f"The negative control {found['arm_label']} improves too, which it cannot by what its labels say: the "
                "effect may come from the amount of training rather than from the images.",
                serious=True,
                keys=found["keys"],
            )
        if found["arm"] == baseline and found["outcome"] == "improves" and report["verdict"]["outcome"] != "improves":
            yield _qualification(
                "baseline",
                f"The baseline {found['arm_label']} improves where the trial's generator was not shown to.",
                serious=True,
                keys=found["keys"],
            )


def _copies(report: Json) -> Iterator[Json]:
    for synthetic in report["synthetic"]:
        if synthetic["control"]:
            continue
        for found, total, fate in (
            ([quality["memorised"] for quality in synthetic["quality"]], "accepted images", "They are in the trial."),
            (
                [d["copies"] for d in synthetic["decisions"] if d["copies"]["removed"]],
                "candidates",
                "They were kept out.",
            ),
        ):
            count, searched = sum(search["count"] for search in found), sum(search["searched"] for search in found)
            if count:
                yield _qualification(
                    "copies",
                    f"{number(count)} of {number(searched)} {total} of {synthetic['name']} may be copies: they lie "
                    f"nearer to a training image than all but {found[0]['quantile']:.2%} of real images of different "
                    f"patients do. {fate}",
                    keys=synthetic["keys"],
                )
        repeated = sum(quality["repeated"] for quality in synthetic["quality"])
        if repeated:
            yield _qualification(
                "collapse",
                f"Repeats of others to the pixel: {counted(repeated, 'accepted image')} of {synthetic['name']}.",
                keys=synthetic["keys"],
            )


def _diversity(report: Json, *, data: TrialData) -> Iterator[Json]:
    """Classes whose images differ less among themselves than real images of the class do."""
    used = {data.cells[report["verdict"][side]].synthetic for side in ("arm", "control")}
    for synthetic in report["synthetic"]:
        if synthetic["control"]:
            continue
        for name in report["classes"]:
            found = [quality.get("diversity_by_class", {}).get(name) for quality in synthetic["quality"]]
            low = [
                one for one in found if one and one["interval_95"][1] < LOW_DIVERSITY and one["ratio"] < one["floor"]
            ]
            if not low:
                continue
            least = min(low, key=lambda one: one["ratio"])
            collapsed = least["interval_95"][1] < COLLAPSED
            words = "has collapsed: its images are much alike" if collapsed else "is little diverse"
            several = f" in {len(low)} of {len(found)} replicates of the generator" if len(found) > 1 else ""
            yield _qualification(
                "collapse",
                f"The class {name!r} of {synthetic['name']} {words}{several}. "
                f"{counted(least['sample_size'], 'image')} of it are as diverse as {least['synthetic']:.1f} that have "
                f"nothing in common, as many real ones as {least['real']:.1f} (Vendi scores); the ratio is "
                f"{least['ratio']:.2f}, 95% interval "
                f"{least['interval_95'][0]:.2f} to {least['interval_95'][1]:.2f}, where halves of the real images show "
                f"{least['floor']:.2f} or more of each other.",
                serious=collapsed and synthetic["name"] in used,
                keys=synthetic["keys"],
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
    return _qualification("scope", " ".join(sentences), keys=primary["keys"])


def _undecided(primary: Json) -> Iterator[Json]:
    if primary["undecided"]:
        yield _qualification(
            "undecided", f"No outcome was given: {primary['undecided']}.", serious=True, keys=primary["keys"]
        )


def _replicates(primary: Json) -> Iterator[Json]:
    if 1 < primary["replicates"] < FEW_REPLICATES:
        yield _qualification(
            "replicates",
            f"{primary['replicates']} paired replicates are few: the interval is wide, since the variance over seeds "
            "is itself uncertain. A third replicate narrows it most.",
            keys=primary["keys"],
        )
    for note in primary["notes"]:
        yield _qualification("interval", f"{note[0].upper()}{note[1:]}.", keys=primary["keys"])


def _looks(report: Json) -> Iterator[Json]:
    if len(report["looks"]) > 1:
        last = report["looks"][-1]
        changed = ", ".join(last["changed"]) or "nothing in the specification"
        yield _qualification(
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
            yield _qualification(
                "hardware",
                f"The compared cells were not all made alike: their {field.replace('_', ' ')} differs "
                f"({'; '.join(sorted(found))}).",
                keys=[key for keys in found.values() for key in keys],
            )


def _shift(report: Json) -> Iterator[Json]:
    for shift in report["dataset"]["shifts"]:
        if shift["p_value"] < SHIFT_P:
            first, second = shift["between"]
            yield _qualification(
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
                yield _qualification(
                    "audit", f"{name}{finding['words']}", serious=finding["grade"] == "stop", keys=keys
                )


def _labels_by_distance(report: Json, *, data: TrialData) -> Iterator[Json]:
    """Sets of which a class lies far from the real images of that class and much nearer to those of another one."""
    used = {data.cells[report["verdict"][side]].synthetic for side in ("arm", "control")}
    for synthetic in report["synthetic"]:
        quality = synthetic["quality"][0] if synthetic["quality"] else {}
        for name, found in quality.get("nearest_class", {}).items():
            own = quality["frechet_by_class"][name]
            if own is None or own["ratio_to_floor"] is None or found["name"] == name:
                continue
            if own["ratio_to_floor"] > FAR_RATIO and found["synthetic_real"] * FAR_NEARER < own["synthetic_real"]:
                yield _qualification(
                    "labels",
                    f"Images labelled {name!r} of {synthetic['name']} lie {own['ratio_to_floor']:.1f} times as far "
                    f"from real ones of that class as real ones do from each other, and nearer to {found['name']!r}: "
                    "their labels may be wrong.",
                    serious=synthetic["name"] in used,
                    keys=synthetic["keys"],
                )


def _sharpness(data: TrialData, *, report: Json) -> Iterator[Json]:
    """Imported sets whose images were larger than the real ones, where those were enlarged to the trial's size."""
    used = {data.cells[report["verdict"][side]].synthetic for side in ("arm", "control")}
    real = data.audit.value.resampling
    largest = real.sides[1]
    for synthetic in data.synthetic:
        if synthetic.audit is None or largest >= real.to:
            continue
        smallest = synthetic.audit.value.resampling.sides[0]
        if smallest > largest:
            yield _qualification(
                "sharpness",
                f"The real images were enlarged from {largest} to {real.to} pixels ({real.method}); those of "
                f"{synthetic.name} come from {smallest} pixels or more. Sharpness alone may tell real from synthetic, "
                f"and with it the class where proportions differ. With `size: {largest}` nothing is enlarged.",
                serious=synthetic.name in used,
                keys=[data.audit.key, synthetic.audit.key],
            )


def _data(report: Json) -> Iterator[Json]:
    dataset = report["dataset"]
    if not dataset["splits"]["test"]["patients_known"]:
        yield _qualification(
            "patients",
            "The data set does not say which images are of one patient, so each counts as a patient of its own: where "
            "patients have several images, the true interval is wider.",
            keys=dataset["keys"],
        )
    for warning in dataset["warnings"]:
        yield _qualification("data", warning, keys=dataset["keys"])
    for synthetic in report["synthetic"]:
        for warning in synthetic["audit"]["warnings"] if synthetic["audit"] else []:
            yield _qualification("data", f"{synthetic['name']}: {warning}", keys=synthetic["keys"])


def _chosen(data: TrialData) -> Iterator[Json]:
    for words in data.request.qualifications:
        yield _qualification("chosen", words)


def _effect(found: Json) -> str:
    """A comparison's difference with its interval, where it has one, and why nothing was decided, where it was not."""
    over = " over patients alone" if found["replicates"] == 1 else ""
    interval = ", without an interval"
    if found["interval_95"] is not None:
        low, high = (signed(bound) for bound in found["interval_95"])
        interval = f" (95% interval{over} {low} to {high})"
    why = f"; {found['undecided']}" if found["undecided"] else ""
    return f"{signed(found['estimate'])}{interval}{why}"
