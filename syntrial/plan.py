"""The plan: an experiment expanded into a graph of steps with their keys; pure, the same for every executor."""

from dataclasses import dataclass

from google.protobuf.message import Message


@dataclass(frozen=True, kw_only=True, slots=True)
class Step:
    """One step of a plan: a request, the key of its artifact, and what must be done before it."""

    key: str
    method: str
    """For example "syntrial.v1.GenerationService/TrainGenerator"."""
    request: Message
    """With its header's key and stage version filled in."""
    label: str
    """What a person calls the step, for example "train diffusion edm"; never part of the key."""
    after: tuple[str, ...]
    """Keys of the steps that must be done first: inputs, and what holds it back (evaluations wait for trainings)."""
    work: float = 0.0
    """Estimated work in units of 10^12 floating point operations, for the estimate of time."""
