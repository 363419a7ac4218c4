"""The exceptions of Syntrial, and what each means for a retry.

    SyntrialError
    ├── UserError               the request or its data is wrong: not tried again until it changes (exit code 2)
    │   ├── SourceError         a file or folder of the user's is missing, damaged or against a rule
    │   │   └── SourceUnavailable   where it lies, nothing answers: a cluster tries again
    │   ├── StoreRefused        the store's address, settings or credentials are wrong: not about the experiment
    │   ├── ClusterRefused      a Kubernetes API server refused a request: permissions, quotas, invalid objects
    │   └── TrackingRefused     an MLflow server refused a request, or there is none: no trial hangs on it
    ├── Cancelled               somebody asked the step to stop
    ├── DataLoss                a stored blob differs from its digest: the artifact is made again
    ├── StoreUnavailable        the store did not answer: tried again
    ├── ClusterUnavailable      the Kubernetes API did not answer: tried again
    ├── TrackingUnavailable     the MLflow server did not answer, or not with an answer: no trial hangs on it
    ├── StoreFull               no space, or not writable: the user must act
    ├── ArtifactMissing         an input's manifest is not there
    ├── VersionMismatch         caller and server are of different versions
    └── StepError               a step ended in an error; carries its reason and the tail of its log

Retry or give up is decided by the type. Every message to a user says the field, the rule, what came and what to do.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from http import HTTPStatus


class SyntrialError(Exception):
    """The root of all errors that Syntrial raises on purpose."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Violation:
    """One thing that is wrong with what a user gave."""

    field: str
    """The path of the field (`spec.arms[1]`) or the file."""
    rule: str
    """What must hold, as a sentence without a full stop."""
    received: str
    """The value that came, shortened to what a person can read."""
    remedy: str
    """What to do."""

    def __str__(self) -> str:
        return f"{self.field}: {self.rule}; received {self.received}. {self.remedy}"


class UserError(SyntrialError):
    """The request or its data is wrong; the user must change something. Carries one or more violations."""

    def __init__(
        self,
        *,
        field: str = "",
        rule: str = "",
        received: object = "",
        remedy: str = "",
        violations: Sequence[Violation] = (),
    ) -> None:
        self.violations: tuple[Violation, ...] = tuple(violations) or (
            Violation(field=field, rule=rule, received=_shorten(received), remedy=remedy),
        )
        super().__init__("\n".join(str(violation) for violation in self.violations))


class SourceError(UserError):
    """A file or folder of the user's is missing, damaged or against a rule; `field` names it."""

    file: str = ""
    """Of one file among many, its name as the violations have it: for the user's own terminal alone."""
    number: int | None = None
    """Its place among them in the order of names, from 0."""

    def about(self, file: str, *, number: int | None = None) -> "SourceError":
        """This error, which says that it is about one file among many."""
        self.file, self.number = file, self.number if number is None else number
        return self

    def at(self, field: str) -> "SourceError":
        """The same about a place that was not known where it was raised."""
        return type(self)(violations=[replace(found, field=field) for found in self.violations])

    def nameless(self) -> "SourceError":
        """The error as others may read it, in logs and records: with the file's number in place of its name."""
        if not self.file:
            return self
        word = "one of the files" if self.number is None else f"file {self.number} in the order of names, from 0"
        needles = sorted({self.file, ascii(self.file), self.file.rpartition("/")[2]}, key=len, reverse=True)

        def hidden(text: str) -> str:
            for needle in needles:
                text = text.replace(needle, word) if needle else text
            return text

        return type(self)(
            violations=[
                Violation(**{name: hidden(getattr(found, name)) for name in ("field", "rule", "received", "remedy")})
                for found in self.violations
            ]
        )


class SourceUnavailable(SourceError):
    """Where the source lies, nothing answers: a person may bring it otherwise, a cluster tries again."""


class StoreRefused(UserError):
    """The store cannot be used as it is named: its address, a setting, its credentials or its bucket."""


class ClusterRefused(UserError):
    """A Kubernetes API server refused a request."""

    def __init__(self, message: str, *, status: int, reason: str, field: str, remedy: str) -> None:
        """`status` is HTTP's, `reason` and `message` are the API's: 403, "Forbidden", 'jobs.batch "x" is forbidden'."""
        super().__init__(field=field, rule=message, received=f"{status} {reason}", remedy=remedy)
        self.message = message
        self.status = status
        self.reason = reason

    @property
    def is_quota(self) -> bool:
        """Whether a quota of the namespace is used up, so that the same request may succeed later."""
        return self.status == HTTPStatus.FORBIDDEN and "exceeded quota" in self.message


class TrackingRefused(UserError):
    """An MLflow server does not let this user write, or something else answers at its address."""


class Cancelled(SyntrialError):
    """Somebody asked the step to stop."""


class DataLoss(SyntrialError):
    """A stored blob is missing or differs from its digest."""

    def __init__(self, message: str, *, key: str = "") -> None:
        super().__init__(message)
        self.key = key


class StoreUnavailable(SyntrialError):
    """The store did not answer, or not in time."""


class ClusterUnavailable(SyntrialError):
    """The Kubernetes API did not answer, or not in time."""


class TrackingUnavailable(SyntrialError):
    """The MLflow server did not answer, not in time, or with an error of its own."""


class StoreFull(SyntrialError):
    """The store or the local cache has no space left or may not be written."""


class ArtifactMissing(SyntrialError):
    """An artifact or a member that a step needs is not in the store."""


class VersionMismatch(SyntrialError):
    """Caller and server know different versions of a stage, or compute different keys for a request."""


class StepError(SyntrialError):
    """A step ended in an error."""

    def __init__(self, message: str, *, key: str, reason: str, log_tail: str = "", retryable: bool = False) -> None:
        super().__init__(message)
        self.key = key
        self.reason = reason
        self.log_tail = log_tail
        self.retryable = retryable


def listed(names: Iterable[str], *, last: str) -> str:
    """Names in a sentence: "a, b or c", where `last` is "or"."""
    *most, end = names
    return f"{', '.join(most)} {last} {end}" if most else end


def _shorten(value: object) -> str:
    text = value if isinstance(value, str) else repr(value)
    return text if len(text) <= 200 else f"{text[:197]}..."
