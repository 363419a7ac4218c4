"""How many steps an experiment asks for, counted without planning it; and the limit on them. Pure but for the setting.

Called by whoever is about to plan: the command line before it reads any source, `syntrial submit`, the controller. One
file of a kilobyte may multiply seeds, sets, arms and classifiers to millions of steps.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from syntrial.errors import UserError
from syntrial.experiment.model import MOST_STEPS, Experiment, Spec
from syntrial.plan.outline import OutlinedSet, is_primary, outline, replicates

STEP_LIMIT: Final = 20_000
"""Steps of a trial, where no setting says otherwise: a plan of 50 MB that is made in a few seconds."""

SETTING: Final = "SYNTRIAL_STEP_LIMIT"
"""The environment variable with another limit."""

_TRAINED_AND_EVALUATED: Final = 2
_ALWAYS: Final = 3
"""The data set, the encoder, the report."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Size:
    """What a plan consists of."""

    steps: int
    """Of the whole plan, its report too: as many as the planner makes where no two are the same, never fewer."""
    comparisons: int
    """Of an arm with its control, in the report."""


def size_of(spec: Spec) -> Size:
    """The size of the plan of a specification."""
    sets = outline(spec)
    steps = _ALWAYS + sum(_steps_of(item) for item in sets)
    comparisons = 0
    others = sum(not is_primary(spec, classifier) for classifier in spec.classifiers)
    for primary, times in ((True, 1), (False, others)):
        trainings, compared = _trainings(spec, sets, primary=primary)
        steps += times * trainings * _TRAINED_AND_EVALUATED
        comparisons += times * compared
    return Size(steps=steps, comparisons=comparisons)


def check_size(experiment: Experiment, *, limit: int) -> None:
    """Raises UserError where the trial has more than `limit` steps, or compares more than that."""
    size = size_of(experiment.spec)
    for counted, what in ((size.steps, "steps"), (size.comparisons, "comparisons")):
        if counted > limit:
            raise UserError(
                field="spec",
                rule=f"a trial has at most {limit:,} {what}",
                received=f"{counted:,} {what}: {_factors(experiment.spec)}",
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
    return item.spec.replicates * (made + 2)


def _trainings(spec: Spec, sets: tuple[OutlinedSet, ...], *, primary: bool) -> tuple[int, int]:
    """Trainings and comparisons of one classifier: the primary's, or another."""
    cells: dict[tuple[str, str], int] = {}
    comparisons = 0
    main_control = spec.control_of(spec.primary_arm)
    for item in sets:
        for contest in item.wanted(spec, primary=primary):
            shared = primary and contest.control == main_control
            cells.setdefault((contest.control.name, ""), replicates(spec, primary=shared))
            seeds = replicates(spec, primary=primary and contest.is_primary)
            if contest.needs_synthetic:
                cells.setdefault((contest.arm.name, item.name), item.spec.replicates * seeds)
            else:
                cells.setdefault((contest.arm.name, ""), seeds)
            comparisons += 1
    return sum(cells.values()), comparisons


def _factors(spec: Spec) -> str:
    """What is multiplied, in words."""
    generators = [item.replicates for item in spec.synthetic]
    arms = max(len(spec.arms_of(item)) for item in spec.synthetic)
    seeds = max(spec.replicates, replicates(spec, primary=False))
    controls = {"none": "", "primary": ", and negative controls of one", "all": ", and negative controls of all"}
    return (
        f"{len(spec.synthetic):,} synthetic sets with {sum(generators):,} replicates × up to {arms:,} arms"
        f"{controls[spec.controls]} × {len(spec.classifiers):,} classifiers × {seeds:,} seeds (replicates), "
        "each trained and evaluated"
    )
