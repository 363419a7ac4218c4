"""What a careful reader would ask about synthetic sets before believing the verdict: called by `qualify`."""

from collections.abc import Iterator

from syntrial.analysis.charts import number
from syntrial.analysis.qualification import qualification
from syntrial.analysis.reading import Json, TrialData
from syntrial.counting import counted
from syntrial.experiment.external import EXTERNAL

FAR_RATIO = 3.0
"""Over its floor from which a class's distance is far, where another class lies nearer."""
FAR_NEARER = 1.5
"""How many times nearer that other class must lie."""
LOW_DIVERSITY = 0.8
"""A class is little diverse where all of the interval of its diversity over that of real images lies below this."""
COLLAPSED = 0.5
"""And collapsed where it lies below this."""
EASILY = 0.8
"""Synthetic images are easily told from real ones where all of the interval of the AUROC lies above this."""

_MADE_ELSEWHERE = "They were searched for copies of validation and test images."
_MADE_BY_A_PROGRAM = (
    "A program of the experiment's own was given the training split alone; what it brought along is not known."
)
_BEGUN_ELSEWHERE = "Its generator starts from weights whose training data cannot be shown to exclude these test images."


def lineage(report: Json, *, data: TrialData) -> Iterator[Json]:
    """Sets of which nobody can show what they were made from."""
    used = _in_verdict(report, data=data)
    for synthetic in report["synthetic"]:
        if not synthetic["proven_lineage"]:
            primary = synthetic["name"] in used
            yield qualification(
                "lineage",
                f"The lineage of {synthetic['name']} is unproven: nothing shows that what made these images never saw "
                f"the test images. {_why(synthetic)}",
                serious=primary,
                keys=synthetic["keys"],
            )


def _why(synthetic: Json) -> str:
    """What is known of a set of unproven lineage all the same."""
    if synthetic["audit"]:
        return _MADE_ELSEWHERE
    return _MADE_BY_A_PROGRAM if synthetic["method"] == EXTERNAL else _BEGUN_ELSEWHERE


def copies(report: Json) -> Iterator[Json]:
    """Images that may be copies of training images, or repeat another of their set."""
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
            turned = sum(search.get("turned", 0) for search in found)
            if count:
                aside = f" Mirrored, turned or inverted: {number(turned)}." if turned else ""
                yield qualification(
                    "copies",
                    f"{number(count)} of {number(searched)} {total} of {synthetic['name']} may be copies: they lie "
                    f"nearer to a training image than all but {found[0]['quantile']:.2%} of real images of different "
                    f"patients do.{aside} {fate}",
                    keys=synthetic["keys"],
                )
        repeated = sum(quality["repeated"] for quality in synthetic["quality"])
        if repeated:
            yield qualification(
                "collapse",
                f"Repeats of others to the pixel: {counted(repeated, 'accepted image')} of {synthetic['name']}.",
                keys=synthetic["keys"],
            )


def diversity(report: Json, *, data: TrialData) -> Iterator[Json]:
    """Classes whose images differ less among themselves than real images of the class do."""
    used = _in_verdict(report, data=data)
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
            yield qualification(
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


def told_apart(report: Json) -> Iterator[Json]:
    """Sets whose images a small model easily tells from real ones."""
    for synthetic in report["synthetic"]:
        found = [quality["told_apart"] for quality in synthetic["quality"] if quality.get("told_apart")]
        most = max(found, key=lambda one: one["interval_95"][0], default=None)
        if synthetic["control"] or most is None or most["interval_95"][0] < EASILY:
            continue
        yield qualification(
            "told-apart",
            f"A small model tells the images of {synthetic['name']} from real ones of patients that it has not seen "
            f"with an AUROC of {most['auroc']:.2f}, 95% interval {most['interval_95'][0]:.2f} to "
            f"{most['interval_95'][1]:.2f}, where it reaches {most['real']:.2f} among real images: a classifier that "
            "sees both can learn where an image is from. That matters most where classes differ in their share of "
            "synthetic images.",
            serious=False,
            keys=synthetic["keys"],
        )


def fid(report: Json) -> Iterator[Json]:
    """Sets whose FID is of fewer images than a covariance of its features takes."""
    for synthetic in report["synthetic"]:
        found = [quality["inception"] for quality in synthetic["quality"] if quality.get("inception")]
        fewest = min(found, key=lambda one: one["fid"]["sample_size"], default=None)
        if synthetic["control"] or fewest is None or fewest["fid"]["sample_size"] > fewest["feature_size"]:
            continue
        value, count = fewest["fid"], fewest["fid"]["sample_size"]
        yield qualification(
            "fid",
            f"FID of {synthetic['name']} is of {counted(count, 'image')} of each kind, too few for the covariances of "
            f"its {number(fewest['feature_size'])} features. It is biased upwards so far that "
            f"{value['synthetic_real']:.3g} compares with no published FID, nor with one of another number; real "
            f"images show {value['floor']:.3g} of each other at this number. KID has no such bias.",
            keys=synthetic["keys"],
        )


def labels_by_distance(report: Json, *, data: TrialData) -> Iterator[Json]:
    """Sets of which a class lies far from the real images of that class and much nearer to those of another one."""
    used = _in_verdict(report, data=data)
    for synthetic in report["synthetic"]:
        quality = synthetic["quality"][0] if synthetic["quality"] else {}
        for name, found in quality.get("nearest_class", {}).items():
            own = quality["frechet_by_class"][name]
            if own is None or own["ratio_to_floor"] is None or found["name"] == name:
                continue
            if own["ratio_to_floor"] > FAR_RATIO and found["synthetic_real"] * FAR_NEARER < own["synthetic_real"]:
                yield qualification(
                    "labels",
                    f"Images labelled {name!r} of {synthetic['name']} lie {own['ratio_to_floor']:.1f} times as far "
                    f"from real ones of that class as real ones do from each other, and nearer to {found['name']!r}: "
                    "their labels may be wrong.",
                    serious=synthetic["name"] in used,
                    keys=synthetic["keys"],
                )


def sharpness(data: TrialData, *, report: Json) -> Iterator[Json]:
    """Imported sets whose images were larger than the real ones, where those were enlarged to the trial's size."""
    used = _in_verdict(report, data=data)
    real = data.audit.value.resampling
    largest = real.sides[1]
    for synthetic in data.synthetic:
        if synthetic.audit is None or largest >= real.to:
            continue
        smallest = synthetic.audit.value.resampling.sides[0]
        if smallest > largest:
            yield qualification(
                "sharpness",
                f"The real images were enlarged from {largest} to {real.to} pixels ({real.method}); those of "
                f"{synthetic.name} come from {smallest} pixels or more. Sharpness alone may tell real from synthetic, "
                f"and with it the class where proportions differ. With `size: {largest}` nothing is enlarged.",
                serious=synthetic.name in used,
                keys=[data.audit.key, synthetic.audit.key],
            )


def _in_verdict(report: Json, *, data: TrialData) -> set[str]:
    """The sets whose images the primary comparison is of; "" stands for none."""
    return {data.cells[report["verdict"][side]].synthetic for side in ("arm", "control")}
