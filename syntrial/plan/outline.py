"""What an experiment compares, before any step: its synthetic sets with their arms and controls, and cells. Pure.

The planner makes steps of it, and `syntrial.plan.size` counts them without making any.
"""

from dataclasses import dataclass, replace
from typing import Final

from syntrial.experiment.arms import Arm, duplicated, resampled, shuffled
from syntrial.experiment.endpoint import Side
from syntrial.experiment.model import Classifier, Generator, Spec, Synthetic
from syntrial.experiment.presets.generators import BASELINE

BASELINE_SET: Final = f"{BASELINE}-baseline"


@dataclass(frozen=True, kw_only=True, slots=True)
class Contest:
    """An arm of a synthetic set, and what it is compared with."""

    arm: Arm
    control: Arm
    """Of real images alone."""
    is_extra: bool
    """Whether it is a negative control or a baseline, not an arm that the user asked for."""
    is_primary: bool
    """Whether its arm is that of the primary comparison, and its set too."""

    @property
    def needs_synthetic(self) -> bool:
        """Whether its trainings depend on the set."""
        return self.arm.synthetic_ratio > 0 or any(phase.real_as_synthetic for phase in self.arm.phases)


@dataclass(frozen=True, kw_only=True, slots=True)
class OutlinedSet:
    """A synthetic set and all that it takes part in."""

    spec: Synthetic
    name: str
    is_random: bool
    """Whether it is the random choice of as many images as the filters of `spec` accept."""
    ratio: float
    """The most accepted images that an arm needs, as a ratio to the real training images."""
    contests: tuple[Contest, ...]

    @property
    def is_control(self) -> bool:
        """Whether the set itself is a control."""
        return self.is_random or self.name == BASELINE_SET

    def wanted(self, spec: Spec, *, primary: bool) -> tuple[Contest, ...]:
        """Those for the primary's classifier, or for each other: controls run for it alone, unless `controls: all`."""
        if primary or spec.controls == "all":
            return self.contests
        return tuple(contest for contest in self.contests if not contest.is_extra)


def outline(spec: Spec) -> tuple[OutlinedSet, ...]:
    """The synthetic sets in the planner's order: the user's, the baseline, random choices."""
    primary_arm, primary_set = spec.primary.arm, spec.primary_synthetic and spec.primary_synthetic.name
    controls: dict[Arm, Arm] = {}

    def made(item: Synthetic, *, arms: tuple[Arm, ...] | None = None) -> OutlinedSet:
        own = {arm.name for arm in spec.arms_of(item)}
        every = _arms_with_controls(spec, item)
        name = item.name if arms is None else f"{item.name}-random"
        contests = []
        for arm in every if arms is None else arms:
            control = controls.get(arm)
            if control is None:
                control = controls[arm] = spec.control_of(arm)
            contests.append(
                Contest(
                    arm=arm,
                    control=control,
                    is_extra=arms is not None or item.name == BASELINE_SET or arm.name not in own,
                    is_primary=(name, arm.name) == (primary_set, primary_arm.name),
                )
            )
        ratio = max(arm.synthetic_ratio for arm in every)
        return OutlinedSet(spec=item, name=name, is_random=arms is not None, ratio=ratio, contests=tuple(contests))

    sets = [made(item) for item in _with_baseline(spec)]
    sets += [
        made(item, arms=(primary_arm,) if spec.controls == "primary" else spec.arms_of(item))
        for item in spec.synthetic
        if item.filters and _is_controlled(spec, item)
    ]
    return tuple(sets)


def real_contests(spec: Spec) -> tuple[Contest, ...]:
    """The contests of a trial without synthetic sets: its arms of fewer real images, for every classifier."""
    if spec.synthetic:
        return ()
    return tuple(
        Contest(arm=arm, control=spec.control_of(arm), is_extra=False, is_primary=arm.name == spec.primary.arm.name)
        for arm in spec.real_arms
    )


def rivals(spec: Spec) -> tuple[Side, ...]:
    """What is compared with the primary's reference beside the primary: where that is a cell of another classifier or
    synthetic set, the same cell of each further one.
    """
    decides, other = spec.primary, spec.reference
    if other is None:
        return ()
    found: list[Side] = []
    if decides.classifier != other.classifier:
        found += [replace(decides, classifier=item) for item in spec.classifiers]
    elif decides.synthetic and other.synthetic and decides.synthetic != other.synthetic:
        having = [item for item in spec.synthetic if decides.arm.name in (arm.name for arm in spec.arms_of(item))]
        found += [replace(decides, synthetic=item) for item in having]
    return tuple(side for side in found if side.parts not in (decides.parts, other.parts))


def replicates(spec: Spec, *, primary: bool) -> int:
    """Seeds of a cell: of the primary comparison's two, or of any other."""
    return spec.replicates if primary else spec.exploratory_replicates or spec.replicates


def is_primary(spec: Spec, classifier: Classifier) -> bool:
    """Whether the classifier is that of the primary comparison."""
    return classifier.title == spec.primary.classifier.title


def _asks_of_images(spec: Spec) -> bool:
    """Whether the primary comparison is one of synthetic images, which controls explain, and not of classifiers."""
    decides, other = spec.primary, spec.reference
    return other is None or (decides.synthetic is not None and other.synthetic != decides.synthetic)


def _with_baseline(spec: Spec) -> list[Synthetic]:
    items = list(spec.synthetic)
    has_baseline = any(item.generator is not None and item.generator.kind == BASELINE for item in items)
    primary = spec.primary_synthetic
    if primary is None or spec.controls == "none" or has_baseline:
        return items
    if spec.controls == "primary" and not _asks_of_images(spec):
        return items
    arms = [arm.name for arm in spec.arms_of(primary) if arm.name in ("synthetic", spec.primary.arm.name)]
    baseline = Synthetic(
        name=BASELINE_SET,
        generator=Generator.model_validate({BASELINE: {}}),
        copies=primary.copies,
        balance=primary.balance,
        seed=primary.seed,
        arms=tuple(arms),
    )
    return [*items, baseline]


def _is_controlled(spec: Spec, item: Synthetic) -> bool:
    """Whether this set gets controls of its own."""
    if spec.controls != "primary":
        return spec.controls == "all"
    return item == spec.primary_synthetic and _asks_of_images(spec)


def _arms_with_controls(spec: Spec, item: Synthetic) -> tuple[Arm, ...]:
    arms = spec.arms_of(item)
    if item.name == BASELINE_SET or not _is_controlled(spec, item):
        return arms
    controlled = (spec.primary.arm,) if spec.controls == "primary" else arms
    extra: list[Arm] = []
    for arm in controlled:
        if arm.synthetic_ratio == 0:
            continue
        extra.append(shuffled(arm))
        if item.balance != "match":
            extra.append(resampled(arm))
        if (spec.budget and spec.budget.epochs is not None) or spec.has_stages_in_epochs:
            extra.append(duplicated(arm))
    return arms + tuple(extra)
