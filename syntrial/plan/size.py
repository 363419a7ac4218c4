"""How many steps an experiment asks for, counted without planning it; and the limit on them. Pure but for the setting.

Called by whoever is about to plan: the command line before it reads any source, `syntrial submit`, the controller. One
file of a kilobyte may multiply seeds, sets, arms and classifiers to millions of steps.
"""

import os
from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Final

from syntrial.counting import counted
from syntrial.errors import UserError
from syntrial.experiment.endpoint import Side
from syntrial.experiment.model import MOST_STEPS, Classifier, Experiment, Spec
from syntrial.plan import classifier_trials, generator_trials
from syntrial.plan.filtering import steps_of_further_rounds
from syntrial.plan.latents import steps_in_latents
from syntrial.plan.outline import OutlinedSet, is_primary, outline, real_contests, replicates, rivals
from syntrial.sources.named import initial_of

STEP_LIMIT: Final = 20_000
"""Steps of a trial, where no setting says otherwise: a plan of 50 MB that is made in a few seconds."""

SETTING: Final = "SYNTRIAL_STEP_LIMIT"
"""The environment variable with another limit."""

_TRAINED_AND_EVALUATED: Final = 2
_SPLITS: Final = 3
_ALWAYS: Final = 2
"""The data set, the report."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Size:
    """What a plan consists of."""

    steps: int
    """Of the whole plan, its report too: as many as the planner makes where no two are the same, never fewer."""
    further: int
    """Besides, at most: of rounds in which more candidates are drawn, as filterings decide. No limit counts them."""
    comparisons: int
    """Of an arm with its control, in the report."""


def size_of(spec: Spec) -> Size:
    """The size of the plan of a specification."""
    sets = outline(spec)
    encoders = 1 if spec.synthetic else 0
    extracts = spec.encoder.network is not None
    if spec.synthetic and extracts:
        # Of the training images, and of the candidates of each set that draws its own.
        encoders += 1 + sum(item.spec.replicates for item in sets if not item.is_random)
    if spec.synthetic and spec.inception is not None:
        # Of the training images, and of each set that is assessed.
        encoders += 1 + sum(item.spec.replicates for item in sets if not item.is_random)
    steps = _ALWAYS + encoders + sum(_steps_of(item) for item in sets)
    if spec.projection == "umap":
        steps += sum(not item.is_control for item in sets)
    reference = spec.reference
    sides = () if reference is None else (spec.primary, *rivals(spec))
    steps += sum(
        generator_trials.steps_of_search(item, objective=spec.endpoint.metric, extracts=extracts)
        for item in spec.synthetic
    )
    steps += sum(classifier_trials.steps_of_search(classifier) for classifier in spec.classifiers)
    steps += sum(_pretraining(spec, classifier) for classifier in spec.classifiers)
    # What the endpoint compares, by classifier: cells, and arms with controls of the same classifier.
    cells: dict[str, dict[tuple[str, str], int]] = {item.title: {} for item in spec.classifiers}
    pairs: dict[str, set[tuple[str, str, str]]] = {item.title: set() for item in spec.classifiers}
    for number, side in enumerate([*sides, *([reference] if reference else [])]):
        arm, synthetic, title = side.parts
        cells[title][arm, synthetic] = _trainings_of(spec, side, primary=number == 0 or side is reference)
        if reference is not None and reference.parts[1:] == ("", title):
            pairs[title].add((arm, synthetic, reference.arm.name))
    alike = Counter(
        (is_primary(spec, item), frozenset(cells[item.title].items()), frozenset(pairs[item.title]))
        for item in spec.classifiers
    )
    comparisons = len(sides)
    for (primary, before, compared), times in alike.items():
        trainings, contests = _trainings(spec, sets, primary=primary, before=dict(before), compared=compared)
        steps += times * trainings * _TRAINED_AND_EVALUATED
        comparisons += times * contests
    for item in spec.classifiers:
        if item.probe is not None:
            steps += _extractions(spec, sets, item, cells=cells[item.title])
    further = sum(steps_of_further_rounds(item, extracts=extracts) for item in sets if not item.is_random)
    return Size(steps=steps, further=further, comparisons=comparisons)


def _trainings_of(spec: Spec, side: Side, *, primary: bool) -> int:
    return replicates(spec, primary=primary) * (side.synthetic.replicates if side.synthetic else 1)


def check_size(experiment: Experiment, *, limit: int) -> None:
    """Raises UserError where the trial has more than `limit` steps, or compares more than that."""
    size = size_of(experiment.spec)
    for found, what in ((size.steps, "steps"), (size.comparisons, "comparisons")):
        if found > limit:
            raise UserError(
                field="spec",
                rule=f"a trial has at most {limit:,} {what}",
                received=f"{found:,} {what}: {_factors(experiment.spec)}",
                remedy="Lower some of these, or split the trial in several. The limit is the environment variable "
                f"{SETTING} on a laptop, and the value controller.stepLimit of the chart on a cluster; "
                f"it may be up to {MOST_STEPS:,}.",
            )


def step_limit(environment: Mapping[str, str] | None = None) -> int:
    """The limit that the environment (by default this process's) sets; raises UserError for one that is no limit."""
    given = (os.environ if environment is None else environment).get(SETTING, "")
    if not given:
        return STEP_LIMIT
    if not given.isascii() or not given.isdigit() or not 1 <= int(given[:12]) <= MOST_STEPS:
        raise UserError(
            field=SETTING,
            rule=f"is a whole number from 1 to {MOST_STEPS:,}",
            received=given,
            remedy="Change the environment variable, or remove it.",
        )
    return int(given)


def _steps_of(item: OutlinedSet) -> int:
    """Steps that make a set's images, and filter and assess them."""
    if item.is_random:
        # It filters what the set itself has made.
        return item.spec.replicates
    made = 1 if item.spec.generator is None else 2
    if item.spec.tune is not None and item.spec.generator is not None:
        # The first replicate's training is its search's best trial's.
        latent = max(steps_in_latents(generator) for generator in (item.spec.generator, *item.spec.tune.among))
        return item.spec.replicates * (made + latent + 2) - 1 - latent + _imported(item)
    made += steps_in_latents(item.spec.generator)
    return item.spec.replicates * (made + 2) + _imported(item)


def _imported(item: OutlinedSet) -> int:
    """Steps that bring the generator which the set's begins with: all its replicates share one."""
    initial = initial_of(item.spec.generator)
    return 1 if initial is not None and initial.folder is not None else 0


def _extractions(
    spec: Spec, sets: tuple[OutlinedSet, ...], classifier: Classifier, *, cells: Collection[tuple[str, str]]
) -> int:
    """Steps that compute a probe's features: of three splits, and of each set that an arm of its trains with.

    `cells` are those (arm, set) that the endpoint asks for.
    """
    used = {name for _, name in cells}
    for item in sets:
        if any(contest.needs_synthetic for contest in item.wanted(spec, primary=is_primary(spec, classifier))):
            used.add(item.name)
    return _SPLITS + sum(item.spec.replicates for item in sets if item.name in used)


def _pretraining(spec: Spec, classifier: Classifier) -> int:
    """Steps of a classifier's chain: each link's data, and its training, once or for each seed."""
    seeds = replicates(spec, primary=False)
    reference = spec.reference
    if is_primary(spec, classifier) or (reference is not None and reference.classifier.title == classifier.title):
        seeds = max(seeds, spec.replicates)
    steps = 0
    for link in reversed(classifier.chain):
        seeds = seeds if link.replicates == "each" else 1
        steps += 1 + seeds
    return steps


def _trainings(
    spec: Spec,
    sets: tuple[OutlinedSet, ...],
    *,
    primary: bool,
    before: dict[tuple[str, str], int],
    compared: Collection[tuple[str, str, str]],
) -> tuple[int, int]:
    """Trainings and comparisons of one classifier: the primary's, or another.

    `before` has trainings of the cells (arm, set) that the endpoint asks for, `compared` the (arm, set, control) that
    it compares already.
    """
    cells, comparisons = dict(before), 0
    main_control, has_reference = spec.control_of(spec.primary.arm), spec.reference is not None
    contests = [(contest, "", 1) for contest in real_contests(spec)]
    contests += [
        (contest, item.name, item.spec.replicates) if contest.needs_synthetic else (contest, "", 1)
        for item in sets
        for contest in item.wanted(spec, primary=primary)
    ]
    for contest, name, generators in contests:
        decides = primary and contest.is_primary and not has_reference
        shared = primary and contest.control == main_control and not has_reference
        cells.setdefault((contest.control.name, ""), replicates(spec, primary=shared))
        cells.setdefault((contest.arm.name, name), generators * replicates(spec, primary=decides))
        comparisons += (contest.arm.name, name, contest.control.name) not in compared
    return sum(cells.values()), comparisons


def _factors(spec: Spec) -> str:
    """What is multiplied, in words."""
    generators = [item.replicates for item in spec.synthetic]
    arms = max((len(spec.arms_of(item)) for item in spec.synthetic), default=0)
    seeds = max(spec.replicates, replicates(spec, primary=False))
    controls = {"none": "", "primary": ", and negative controls of one", "all": ", and negative controls of all"}
    if not spec.synthetic:
        return (
            f"{len(spec.real_arms) + 1:,} arms × {len(spec.classifiers):,} classifiers × {seeds:,} seeds (replicates)"
        )
    return (
        f"{counted(len(spec.synthetic), 'synthetic set')} with {counted(sum(generators), 'replicate')} × up to "
        f"{counted(arms, 'arm')}{controls[spec.controls]} × {counted(len(spec.classifiers), 'classifier')} × "
        f"{counted(seeds, 'seed')} (replicates), "
        "each trained and evaluated"
    )
