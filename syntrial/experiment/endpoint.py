"""The endpoint: what is measured, and the one comparison that decides, by the names that a user gives and the defaults.

A cell is an arm, the synthetic set that it uses and a classifier. What decides is a cell against the control of its arm
or, with `against`, against any other cell. `syntrial.experiment.model` holds the models and calls the checks; the
planner, the count of steps and the words of a trial ask `deciding`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal, Protocol, Self

from pydantic import Field, model_validator

from syntrial.experiment.arms import REAL, Arm
from syntrial.experiment.base import Model, words_of, wrong
from syntrial.experiment.classifiers import Classifier
from syntrial.experiment.synthetic import ArmName, Synthetic
from syntrial.v1.analysis_pb2 import Endpoint as EndpointMessage

ITSELF: Final = "a cell is compared with another one, not with itself"
UNDECIDED: Final = "a trial without a synthetic set says which comparison decides"
NO_SUCH_PART: Final = "must be part of this experiment"


class Against(Model):
    """The cell that the primary one is compared with; what is left out is as in the primary."""

    arm: ArmName | None = Field(None, description="Its arm, `real` too. Default: the primary's.")
    synthetic: ArmName | None = Field(None, description="Its synthetic set's name. Default: the primary's.")
    classifier: str | None = Field(None, max_length=257, description="Its classifier's name. Default: the primary's.")


class Primary(Model):
    """The one comparison that decides."""

    arm: ArmName | None = Field(
        None,
        description="The arm that is compared; `real` with `against`, or without synthetic sets. Default: augment-100 "
        "where it is an arm of the set, else the set's first arm; without synthetic sets real.",
    )
    synthetic: ArmName | None = Field(None, description="The synthetic set's name. Default: the first.")
    classifier: str | None = Field(
        None, max_length=257, description="The classifier's name in cells. Default: the first."
    )
    against: Against | None = Field(
        None,
        description="What it is compared with: any other cell, for example another classifier. Default: the arm's "
        "control, with the same classifier.",
    )

    @model_validator(mode="after")
    def _another(self) -> Self:
        """Refuses a cell against itself by what is written; `check_primary` knows the defaults."""
        if self.against is not None:
            given = self.against.model_dump(exclude_none=True)
            if all(getattr(self, field) == value for field, value in given.items()):
                raise wrong("against", ITSELF, given, "Give `against` another arm, synthetic set or classifier.")
        return self


if TYPE_CHECKING:
    MetricName = str
else:
    MetricName = Literal[tuple(words_of(EndpointMessage.Metric.DESCRIPTOR))]


class Endpoint(Model):
    """What is measured on the real test split, and the smallest difference that matters."""

    metric: MetricName = Field("auroc", description="What is measured.")
    smallest_effect: float = Field(
        0.01, gt=0, lt=0.5, description="Smallest difference of the metric that matters: the margin of equivalence."
    )
    primary: Primary | None = Field(
        None,
        description="The one comparison that decides; all others are exploratory. Default: augment-100 where it is an "
        "arm, else the first arm, of the first synthetic set with the first classifier; without synthetic sets the one "
        "comparison that there is.",
    )


class Compared(Protocol):
    """What of a specification bears on its endpoint."""

    @property
    def endpoint(self) -> Endpoint: ...  # noqa: D102
    @property
    def synthetic(self) -> tuple[Synthetic, ...]: ...  # noqa: D102
    @property
    def classifiers(self) -> tuple[Classifier, ...]: ...  # noqa: D102
    @property
    def real_arms(self) -> tuple[Arm, ...]: ...  # noqa: D102
    def arm(self, name: str) -> Arm: ...  # noqa: D102
    def arms_of(self, synthetic: Synthetic) -> tuple[Arm, ...]: ...  # noqa: D102


@dataclass(frozen=True, kw_only=True, slots=True)
class Side:
    """One of the two cells that are compared."""

    arm: Arm
    synthetic: Synthetic | None
    """None where the arm uses no synthetic images."""
    classifier: Classifier

    @property
    def parts(self) -> tuple[str, str, str]:
        """The names of arm, synthetic set ("" for none) and classifier: what a cell is told apart by."""
        return self.arm.name, self.synthetic.name if self.synthetic else "", self.classifier.title

    @property
    def words(self) -> str:
        """For example "augment-100 with edm, small-cnn"."""
        arm, synthetic, classifier = self.parts
        return f"{arm}{f' with {synthetic}' if synthetic else ''}, {classifier}"


def deciding(spec: Compared) -> tuple[Side, Side | None]:
    """The cell that decides and the one that it is compared with: None for the control of its arm.

    Names are taken as checked.
    """
    primary = spec.endpoint.primary or Primary()
    against = primary.against
    if against is None and not spec.synthetic and primary.arm in (None, REAL.name):
        # The only other cell there is.
        cells = _real_cells(spec)
        named = [cell for cell in cells if primary.classifier in (None, cell.classifier.title)]
        decides = named[-1] if primary.arm is None else named[0]
        return decides, next(cell for cell in cells if cell != decides)
    arm = spec.arm(primary.arm) if primary.arm else _usual_arm(spec)
    decides = Side(
        arm=arm, synthetic=_set_of(spec, arm, primary.synthetic), classifier=_classifier(spec, primary.classifier)
    )
    if against is None:
        return decides, None
    other = spec.arm(against.arm) if against.arm else arm
    return decides, Side(
        arm=other,
        synthetic=_set_of(spec, other, against.synthetic or primary.synthetic),
        classifier=_classifier(spec, against.classifier or decides.classifier.title),
    )


def check_primary(spec: Compared) -> None:
    """Raises where the primary comparison names what does not exist, compares a cell with itself, or is left open."""
    primary = spec.endpoint.primary or Primary()
    _check_side(spec, primary, path="endpoint.primary")
    if primary.against is None:
        _check_defaults(spec, primary)
        return
    against = primary.against
    arm = against.arm or primary.arm or _usual_arm(spec).name
    _check_side(
        spec,
        Against(arm=arm, synthetic=against.synthetic or primary.synthetic, classifier=against.classifier),
        path="endpoint.primary.against",
    )
    if against.synthetic and spec.arm(arm).synthetic_ratio == 0:
        rule = f"belongs to an arm that uses synthetic images, and {arm} uses none"
        raise wrong("endpoint.primary.against.synthetic", rule, against.synthetic, "Leave it out.")
    decides, other = deciding(spec)
    if other is not None and other.parts == decides.parts:
        remedy = "Give `against` another arm, synthetic set or classifier."
        raise wrong("endpoint.primary.against", ITSELF, decides.words, remedy, words=decides.words)


def _check_side(spec: Compared, side: Primary | Against, *, path: str) -> None:
    sets, classifiers = [item.name for item in spec.synthetic], [item.title for item in spec.classifiers]
    for field, value, valid in (
        ("synthetic", side.synthetic, sets),
        ("classifier", side.classifier, classifiers),
    ):
        if value is not None and value not in valid:
            remedy = f"Name one of {', '.join(valid)}." if valid else "The experiment has no synthetic set: add it."
            raise wrong(f"{path}.{field}", NO_SUCH_PART, value, remedy)
    if side.arm is None:
        return
    item = next((item for item in spec.synthetic if side.synthetic in (None, item.name)), None)
    of_set = spec.arms_of(item) if item else spec.real_arms
    names = [arm.name for arm in of_set]
    if isinstance(side, Against) or side.against is not None or not spec.synthetic:
        names = [REAL.name, *names]
        # An arm of real images alone is the same whichever set names it.
        names += [arm.name for arm in spec.real_arms if arm.name not in names]
    if side.arm not in names:
        rule = f"must be an arm of {item.name!r}" if item else "must be an arm of real images"
        remedy = f"Name one of {', '.join(names)}, or add it to arms."
        if side.arm == REAL.name:
            remedy += " What real images are compared with, another classifier for example, is said by `against`."
        raise wrong(f"{path}.arm", rule, side.arm, remedy)


def _check_defaults(spec: Compared, primary: Primary) -> None:
    """Raises where the other side is left open and there is not exactly one."""
    if spec.synthetic or primary.arm not in (None, REAL.name):
        return
    cells = _real_cells(spec)
    if len(cells) == 1:
        rule = "needs something to compare: a synthetic set, a second classifier, or an arm with fewer real images"
        raise wrong("", rule, cells[0].words, "Add one of them.", words=f"{cells[0].words} alone")
    if len(cells) > 2:
        titles = [item.title for item in spec.classifiers]
        example = f"{{primary: {{arm: {cells[-1].arm.name}}}}}"
        if len(titles) > 1:
            example = f"{{primary: {{classifier: {titles[-1]}, against: {{classifier: {titles[0]}}}}}}}"
        words = f"{len(cells)} cells: {'; '.join(_few([cell.words for cell in cells]))}"
        raise wrong("endpoint.primary.against", UNDECIDED, "", f"Say it, for example endpoint: {example}.", words=words)


def _few(words: Sequence[str], most: int = 8) -> list[str]:
    return [*words[:most], f"{len(words) - most} more"] if len(words) > most else list(words)


def _real_cells(spec: Compared) -> list[Side]:
    """All cells of a trial without synthetic sets, the control first."""
    return [
        Side(arm=arm, synthetic=None, classifier=classifier)
        for classifier in spec.classifiers
        for arm in (REAL, *spec.real_arms)
    ]


def _usual_arm(spec: Compared) -> Arm:
    if not spec.synthetic:
        return REAL
    primary = spec.endpoint.primary
    available = spec.arms_of(named_set(spec.synthetic, primary.synthetic if primary else None))
    return next((arm for arm in available if arm.name == "augment-100"), available[0])


def _set_of(spec: Compared, arm: Arm, name: str | None) -> Synthetic | None:
    if arm.synthetic_ratio == 0:
        return None
    return named_set(spec.synthetic, name)


def named_set(sets: Sequence[Synthetic], name: str | None) -> Synthetic:
    """The synthetic set of this name, the first where None is given."""
    return next(item for item in sets if name in (None, item.name))


def _classifier(spec: Compared, title: str | None) -> Classifier:
    return next(item for item in spec.classifiers if title in (None, item.title))
