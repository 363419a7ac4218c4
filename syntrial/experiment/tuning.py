"""A search for a generator's fields: which are tried, how trials are judged, and which are stopped early.

The set's generator as it is written is trial 0, and every other one is it with some fields otherwise. What a trial is
judged by never comes from the test split. `syntrial.plan.search` makes steps of a search.
"""

from collections.abc import Mapping
from math import isfinite
from typing import Annotated, Any, ClassVar, Final, Literal, Self

from pydantic import BeforeValidator, Field, JsonValue, ValidationError, model_validator
from pydantic.alias_generators import to_camel

from syntrial.experiment.base import Model, OneOf, Option, Seed, words_of, wrong
from syntrial.v1.analysis_pb2 import Endpoint
from syntrial.v1.generation_pb2 import Objective

FRECHET: Final = "frechet"
OBJECTIVES: Final = (*words_of(Endpoint.Metric.DESCRIPTOR), FRECHET)
"""What a trial may be judged by: the endpoint's figures on the validation split, or a distance to real images."""

MOST_TRIALS: Final = 200

NOT_ON_TEST: Final = "trials are judged on the validation split, or by training images: never on the test split"
FINITE_AND_RISING: Final = "a range goes from a number to a larger one"
LOG_ABOVE_ZERO: Final = "a range of orders of magnitude is above 0"
NOTHING_TO_TRY: Final = "a search needs `over`, `among` or both"
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


def _never_test(value: object) -> object:
    if isinstance(value, str) and "test" in value:
        raise wrong("", NOT_ON_TEST, value, f"Choose one of {', '.join(OBJECTIVES)}.")
    return value


class TuneFields(Model):
    """A search for the generator's fields; the best trial's generator makes the set's images."""

    over: dict[Annotated[str, Field(min_length=1, max_length=200)], Dimension] = Field(
        {},
        max_length=16,
        description="What is tried, by the fields of the generator: learningRate, or sampler.truncation, or "
        "options.rate of a generator of your own. Default: none.",
    )
    trials: int = Field(
        12, ge=2, le=MOST_TRIALS, description="Trials in all: the generator as it is written, and others."
    )
    parallel: int = Field(
        2,
        ge=1,
        le=32,
        description="Trials that are chosen and may run at once; the next are chosen by what these gave.",
    )
    objective: Annotated[Literal[OBJECTIVES], BeforeValidator(_never_test)] | None = Field(  # type: ignore[valid-type]
        None,
        description="What is best: auroc, accuracy or balanced-accuracy on the validation split, of a small classifier "
        "that is trained on the trial's images alone; or frechet, the distance to training images in the trial's "
        "encoder. Default: the endpoint's metric.",
    )
    prune: Prune | None = Field(
        None, description="Stops trials early, of generators trained by steps. Default: all are trained to the end."
    )
    images: float = Field(
        1.0, gt=0, le=100, description="Images by which a trial is judged, as a ratio to the real training images."
    )
    steps: int | None = Field(
        None, ge=1, le=1_000_000, description="Optimiser steps of the classifier that judges. Default: 600."
    )
    seed: Seed = Field(0, description="Seed of what is tried.")

    @property
    def most_parts(self) -> int:
        """Parts of all trials' trainings, at most."""
        return self.trials * (1 + (len(self.prune.after) if self.prune else 0))


def objective_of(word: str) -> Any:
    """The number of an objective's word."""
    return Objective.Value(f"OBJECTIVE_{word.upper().replace('-', '_')}")


def with_parameters(generator: Any, parameters: Mapping[str, Any]) -> Any:
    """The generator with these fields otherwise; raises ValidationError, as of a file."""
    tree: dict[str, Any] = generator.model_dump(mode="json", by_alias=True, exclude_unset=True)
    (name,) = (name for name, value in tree.items() if value is not None)
    for field, value in parameters.items():
        place = tree[name]
        *parents, last = field.split(".")
        for parent in parents:
            if not isinstance(place.get(parent), dict):
                place[parent] = {}
            place = place[parent]
        # A number that is whole is written so: a field of whole numbers takes no other.
        place[last] = int(value) if isinstance(value, float) and value.is_integer() else value
    return type(generator).model_validate(tree)


def check_dimensions(generator: Any, over: Mapping[str, Dimension]) -> None:
    """Raises what `wrong` gives where a value that may be tried is none that the generator's field takes."""
    for field, dimension in over.items():
        head, *rest = field.split(".")
        if head == "unlabelled":
            raise wrong(f"tune.over.{field}", "is one value of a generator", field, "Compare two sets instead.")
        if head in ("options", "code", "image", "command", "version") and not (
            head == "options" and rest and rest[0] in generator.chosen.options
        ):
            rule = "of a generator of your own its options are tried, which `options` has with their usual values"
            raise wrong(
                f"tune.over.{field}", rule, field, "Name one as options.NAME, and write it under `options` too."
            )
        for value in dimension.ends:
            try:
                with_parameters(generator, {field: value})
            except ValidationError as error:
                first = error.errors(include_url=False)[0]
                rule = f"is a field of the generator with values that it takes: {first['msg']}"
                remedy = f"`syntrial explain generator {to_camel(generator.kind)}` lists its fields."
                raise wrong(f"tune.over.{field}", rule, value, remedy) from None
