"""A search for fields of a generator or a classifier: which are tried, how trials are judged, which are stopped early.

What is searched is trial 0 as it is written, and every other trial is it with some fields otherwise. What a trial is
judged by never comes from the test split. `syntrial.plan.search` makes steps of a search.
"""

from collections.abc import Mapping, Sequence
from math import isfinite
from typing import Annotated, Any, ClassVar, Final, Literal, Self, TypeVar

from pydantic import BeforeValidator, Field, JsonValue, ValidationError, model_validator

from syntrial.experiment.base import Model, OneOf, Option, Seed, words_of, wrong
from syntrial.v1.analysis_pb2 import Endpoint
from syntrial.v1.generation_pb2 import Objective

FRECHET: Final = "frechet"
ON_VALIDATION: Final = tuple(words_of(Endpoint.Metric.DESCRIPTOR))
"""What a trial may be judged by: the endpoint's figures, on the validation split."""
OBJECTIVES: Final = (*ON_VALIDATION, FRECHET)
"""What a generator may be judged by beside: a distance to real images."""

MOST_TRIALS: Final = 200

NOT_ON_TEST: Final = "trials are judged on the validation split, or by training images: never on the test split"
FINITE_AND_RISING: Final = "a range goes from a number to a larger one"
LOG_ABOVE_ZERO: Final = "a range of orders of magnitude is above 0"
NOTHING_TO_TRY: Final = "a search needs `over`, `among` or `snapshots`"
RISING_PARTS: Final = "shares of the training rise"


class Dimension(OneOf):
    """The values of one field that a search may try: exactly one of {kinds}."""

    KINDS = ("choice", "range")
    OPTIONS: ClassVar[Mapping[str, Option]] = {"log": Option(of=("range",), rule="`log` belongs to a range")}

    choice: tuple[JsonValue, ...] | None = Field(
        None, min_length=1, max_length=64, description="These values. Default: a range."
    )
    range: tuple[float, ...] | None = Field(
        None,
        min_length=2,
        max_length=2,
        description="All values from the first number to the second; whole ones for a field of whole numbers. Default: "
        "a choice.",
    )
    log: bool | None = Field(None, description="Whether orders of magnitude are equally likely. Default: false.")

    @model_validator(mode="after")
    def _rises(self) -> Self:
        if self.range is not None:
            low, high = self.range
            if not (isfinite(low) and isfinite(high) and low < high):
                raise wrong("range", FINITE_AND_RISING, [low, high], "Write the smaller number first.")
            if self.log and low <= 0:
                raise wrong("range", LOG_ABOVE_ZERO, [low, high], "Begin above 0, or leave `log` out.")
        return self

    @property
    def ends(self) -> tuple[Any, ...]:
        """Values that must be valid if all are: those of a choice, the ends of a range."""
        return self.choice if self.choice is not None else tuple(self.range or ())


class Prune(Model):
    """Which trials are stopped on their way (asynchronous successive halving, Li et al. 2020)."""

    after: tuple[Annotated[float, Field(gt=0, lt=1)], ...] = Field(
        (0.25,),
        min_length=1,
        max_length=4,
        description="Shares of the training after which a trial is compared with all that came as far. Default: 0.25.",
    )
    keep: float = Field(
        0.5, gt=0, lt=1, description="The share of them that is trained on. Trial 0 always is, and the best."
    )

    @model_validator(mode="after")
    def _rises(self) -> Self:
        if list(self.after) != sorted(set(self.after)):
            raise wrong("after", RISING_PARTS, list(self.after), "Write the smallest first, and none twice.")
        return self


def _never_test(*objectives: str) -> BeforeValidator:
    """Refuses an objective on the test split in words of its own."""

    def check(value: object) -> object:
        if isinstance(value, str) and "test" in value:
            raise wrong("", NOT_ON_TEST, value, f"Choose one of {', '.join(objectives)}.")
        return value

    return BeforeValidator(check)


Over = dict[Annotated[str, Field(min_length=1, max_length=200)], Dimension]


class SearchFields(Model):
    """What all searches say."""

    over: Over = Field(
        {},
        max_length=16,
        description="What is tried, by names of fields: learningRate; sampler.truncation or recipe.weightDecay, which "
        "stand below others; stages.0.epochs, of the first of several; options.rate of a generator of your own. "
        "Default: none.",
    )
    trials: int = Field(12, ge=2, le=MOST_TRIALS, description="Trials in all: what is written, and others.")
    parallel: int = Field(
        2,
        ge=1,
        le=32,
        description="Trials that are chosen and may run at once; the next are chosen by what these gave.",
    )
    prune: Prune | None = Field(
        None, description="Stops trials early, of what is trained by steps. Default: all are trained to the end."
    )
    seed: Seed = Field(0, description="Seed of what is tried.")

    @property
    def pruned_after(self) -> tuple[float, ...]:
        """Shares of the training after which trials are compared, rising."""
        return self.prune.after if self.prune else ()

    @property
    def shares(self) -> tuple[float, ...]:
        """Shares of the training at which its parts end, rising, but for the last, which ends with it."""
        return self.pruned_after

    @property
    def parts(self) -> int:
        """Parts of a trial's training."""
        return 1 + len(self.shares)

    @property
    def most_parts(self) -> int:
        """Parts of all trials' trainings, where none is stopped."""
        return self.trials * (1 + len(self.pruned_after))


class TuneFields(SearchFields):
    """A search for the generator's fields; the best trial's generator makes the set's images."""

    objective: Annotated[Literal[OBJECTIVES], _never_test(*OBJECTIVES)] | None = Field(  # type: ignore[valid-type]
        None,
        description="What is best: auroc, accuracy or balanced-accuracy on the validation split, of a small classifier "
        "that is trained on the trial's images alone; or frechet, the distance to training images in the trial's "
        "encoder. Default: the endpoint's metric.",
    )
    images: float = Field(
        1.0, gt=0, le=100, description="Images by which a trial is judged, as a ratio to the real training images."
    )
    steps: int | None = Field(
        None, ge=1, le=1_000_000, description="Optimiser steps of the classifier that judges. Default: 600."
    )
    snapshots: int | None = Field(
        None,
        ge=2,
        le=20,
        description="Evenly spaced moments of each trial's training at which it is judged, its end the last; the best "
        "trial's best moment makes the set's images. Default: a trial is what its whole training makes.",
    )

    @property
    def shares(self) -> tuple[float, ...]:
        """As of all searches, with those of the snapshots."""
        count = self.snapshots or 1
        return tuple(sorted({*self.pruned_after, *(number / count for number in range(1, count))}))

    @property
    def most_parts(self) -> int:
        """As of all searches; shares of `prune` that are none of the snapshots are left out, as the API server does."""
        return max(super().most_parts, self.trials * (self.snapshots or 1))


class TuneClassifier(SearchFields):
    """A search for the classifier's fields; every arm trains the best trial's classifier."""

    over: Over = Field(min_length=1, max_length=16, description=SearchFields.model_fields["over"].description)
    objective: Annotated[Literal[ON_VALIDATION], _never_test(*ON_VALIDATION)] | None = Field(  # type: ignore[valid-type]
        None, description="What is best on the validation split. Default: the endpoint's metric."
    )
    replicates: int = Field(
        2,
        ge=1,
        le=20,
        description="Trainings of each trial, on the real training images, by whose mean it is judged; their seeds are "
        "none of the arms'.",
    )


def objective_of(word: str) -> Any:
    """The number of an objective's word."""
    return Objective.Value(f"OBJECTIVE_{word.upper().replace('-', '_')}")


M = TypeVar("M", bound=Model)


def with_parameters(written: M, parameters: Mapping[str, Any]) -> M:
    """A generator or a classifier with these fields otherwise.

    Raises ValidationError, as of a file, and LookupError for an entry of a list that is not there.
    """
    tree: dict[str, Any] = written.model_dump(mode="json", by_alias=True, exclude_unset=True)
    top: Any = tree
    if isinstance(written, OneOf):
        (top,) = (value for value in tree.values() if value is not None)
    for field, value in parameters.items():
        place: Any = top
        *parents, last = field.split(".")
        for parent in parents:
            if isinstance(place, list):
                place = place[_number(parent, place)]
                if not isinstance(place, dict | list):
                    raise LookupError(f"nothing stands below {parent}")
            else:
                if not isinstance(place.get(parent), dict | list):
                    place[parent] = {}
                place = place[parent]
        # A number that is whole is written so: a field of whole numbers takes no other.
        whole = int(value) if isinstance(value, float) and value.is_integer() else value
        place[_number(last, place) if isinstance(place, list) else last] = whole
    return type(written).model_validate(tree)


def _number(text: str, entries: Sequence[object]) -> int:
    """The place of an entry, counted from 0; raises LookupError where there is none."""
    if not text.isdecimal() or int(text) >= len(entries):
        raise LookupError(f"of its {len(entries)} entries, counted from 0, none is {text}")
    return int(text)


def takes_halves(written: Model, field: str, *, whole: float) -> bool:
    """Whether a field of numbers takes others than whole ones, one of which is given."""
    try:
        with_parameters(written, {field: whole + 0.5})
    except ValidationError:
        return False
    return True


def refusal_of(error: ValidationError | LookupError) -> str:
    """Why a trial's fields make nothing, in words."""
    return str(error.errors(include_url=False)[0]["msg"]) if isinstance(error, ValidationError) else str(error)


def check_values(written: Model, over: Mapping[str, Dimension], *, what: str, explain: str) -> None:
    """Raises what `wrong` gives where a value that may be tried is none that its field takes.

    `what` is searched, for example "generator", whose fields `syntrial explain` lists by the words `explain`.
    """
    for field, dimension in over.items():
        for value in dimension.ends:
            try:
                with_parameters(written, {field: value})
            except (ValidationError, LookupError) as error:
                rule = f"is a field of the {what} with values that it takes: {refusal_of(error)}"
                remedy = f"`syntrial explain {explain}` lists its fields."
                raise wrong(f"tune.over.{field}", rule, value, remedy) from None
