"""The status of an Experiment on a cluster, as a schema: what the controller writes and people and clients read.

Only the schema of the API server is made of these models; every field is optional, since a status grows as a trial
goes on.
"""

from typing import Literal

from pydantic import Field

from syntrial.experiment.base import Model


class Condition(Model):
    """One aspect of the state, as in all of Kubernetes."""

    type: str = Field(
        max_length=316,
        description="Valid (the spec can be run), Audited (the data was prepared and its leaks judged), Progressing "
        "(steps run or wait), Succeeded (the report stands), or Tracked (MLflow shows it, where that is asked for).",
    )
    status: Literal["True", "False", "Unknown"] = Field(description="True, False or Unknown.")
    reason: str = Field(max_length=1024, description="Why, as one word for programs.")
    message: str = Field(max_length=32_768, description="Why, for people: what is wrong, and what to do.")
    last_transition_time: str = Field(
        description="When `status` last changed.", json_schema_extra={"format": "date-time"}
    )
    observed_generation: int | None = Field(None, ge=0, description="The generation of the spec that was judged.")


class Steps(Model):
    """Counts of the steps of the plan."""

    total: int | None = Field(None, ge=0, description="Steps of the plan as far as it is known.")
    done: int | None = Field(None, ge=0, description="Steps whose artifact stands in the store.")
    running: int | None = Field(None, ge=0, description="Steps that a live Job carries and has not finished.")
    failed: int | None = Field(None, ge=0, description="Steps that are not tried again until `syntrial retry`.")
    waiting: int | None = Field(None, ge=0, description="Steps that wait for others, for room or for a next try.")


class StageSteps(Model):
    """Counts of the steps of one stage."""

    name: str = Field(description="The stage: data_prep, generation, filtering, classification or analysis.")
    total: int | None = Field(None, ge=0, description="Steps of the stage.")
    done: int | None = Field(None, ge=0, description="Steps whose artifact stands in the store.")
    running: int | None = Field(None, ge=0, description="Steps at work.")
    failed: int | None = Field(None, ge=0, description="Steps that failed for good.")


class Pending(Model):
    """Why steps do not run."""

    reason: str = Field(
        description="Unschedulable, QuotaExceeded, JobLimit, Queued, ImagePull, OutOfMemory, NodeLost, "
        "GpuBudget, RunningElsewhere, StoreUnreachable, BackOff or Inputs."
    )
    message: str | None = Field(None, description="In words, with what the scheduler, the quota or the registry said.")
    count: int | None = Field(None, ge=0, description="How many steps.")


class Failure(Model):
    """A step that failed."""

    label: str | None = Field(None, description="The step in words.")
    key: str | None = Field(None, description="The step's key, as `syntrial logs` and `syntrial retry` take it.")
    reason: str | None = Field(None, description="The kind of failure.")
    message: str | None = Field(None, description="What the step said last.")


class Verdict(Model):
    """The answer of the primary comparison."""

    decision: Literal["improves", "harms", "equivalent", "inconclusive"] | None = Field(
        None,
        description="improves or harms: the 95% interval excludes 0; equivalent: it lies within the "
        "smallest effect that matters; else inconclusive.",
    )
    by_less_than_margin: bool | None = Field(
        None, description="Whether it improves or harms by less than the smallest effect that matters."
    )
    effect: float | None = Field(None, description="Difference of the metric between arm and control.")
    low: float | None = Field(None, description="Lower end of the 95% interval of the effect.")
    high: float | None = Field(None, description="Upper end of the 95% interval of the effect.")
    metric: str | None = Field(None, description="The metric.")
    words: str | None = Field(None, description="The verdict as a sentence.")


class Report(Model):
    """Where the report stands; `syntrial report` fetches and opens it."""

    address: str | None = Field(None, description="Its address in the store.")
    key: str | None = Field(None, description="The key of the step that wrote it.")


class Status(Model):
    """What the controller last saw, and where the trial is shown; written by Syntrial alone."""

    observed_generation: int | None = Field(None, ge=0, description="The generation of the spec that this speaks of.")
    conditions: tuple[Condition, ...] = Field(
        (), max_length=16, description="Valid, Audited, Progressing, Succeeded, Tracked."
    )
    steps: Steps | None = Field(None, description="Counts of the steps of the plan.")
    progress: str | None = Field(None, description="Steps done of all steps, for example 12/40.")
    stages: tuple[StageSteps, ...] = Field((), max_length=16, description="Counts of the steps of each stage.")
    seconds_left: float | None = Field(
        None, ge=0, description="Estimate from finished steps, in seconds; absent where nothing is known."
    )
    pending: tuple[Pending, ...] = Field((), max_length=8, description="Why steps do not run, the commonest first.")
    failures: tuple[Failure, ...] = Field((), max_length=8, description="Steps that failed for good, the first ones.")
    verdict: Verdict | None = Field(None, description="The answer of the primary comparison, once it stands.")
    endpoint: str | None = Field(None, description="The primary comparison in words.")
    report: Report | None = Field(None, description="Where the report stands.")
    start_time: str | None = Field(
        None, description="When the controller first saw the experiment.", json_schema_extra={"format": "date-time"}
    )
    completion_time: str | None = Field(
        None, description="When the report was written.", json_schema_extra={"format": "date-time"}
    )
