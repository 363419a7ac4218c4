"""Errors on the wire: exceptions to `google.rpc.Status` (server) and back (client).

| exception          | code                | retried |
| ------------------ | ------------------- | ------- |
| `UserError`        | INVALID_ARGUMENT    | no      |
| `Cancelled`        | CANCELLED           | no      |
| `DataLoss`         | DATA_LOSS           | once the input is made again |
| `ArtifactMissing`  | FAILED_PRECONDITION | once the input is made again |
| `VersionMismatch`  | FAILED_PRECONDITION | no      |
| `StoreUnavailable` | UNAVAILABLE         | yes     |
| `StoreFull`        | RESOURCE_EXHAUSTED  | no      |
| out of memory      | RESOURCE_EXHAUSTED  | yes     |
| anything else      | INTERNAL            | where it came from the system, not from the code |

Every status carries an `ErrorInfo`, whose reason tells apart what shares a code; a user's error carries a `BadRequest`.
"""

import json
from collections.abc import Mapping
from typing import Final

import grpc
from google.protobuf import any_pb2
from google.rpc import code_pb2, error_details_pb2, status_pb2
from grpc_status import rpc_status

from syntrial import errors

DOMAIN: Final = "syntrial.dev"
"""The domain of all `ErrorInfo` reasons."""

_REASONS: Final[tuple[tuple[type[errors.SyntrialError], str, int], ...]] = (
    (errors.SourceError, "SOURCE_ERROR", code_pb2.INVALID_ARGUMENT),
    (errors.StoreRefused, "STORE_REFUSED", code_pb2.INVALID_ARGUMENT),
    (errors.UserError, "USER_ERROR", code_pb2.INVALID_ARGUMENT),
    (errors.Cancelled, "CANCELLED", code_pb2.CANCELLED),
    (errors.DataLoss, "DATA_LOSS", code_pb2.DATA_LOSS),
    (errors.StoreUnavailable, "STORE_UNAVAILABLE", code_pb2.UNAVAILABLE),
    (errors.StoreFull, "STORE_FULL", code_pb2.RESOURCE_EXHAUSTED),
    (errors.ArtifactMissing, "ARTIFACT_MISSING", code_pb2.FAILED_PRECONDITION),
    (errors.VersionMismatch, "VERSION_MISMATCH", code_pb2.FAILED_PRECONDITION),
)

SERVER_DIED: Final = "ServerDied"
"""The reason of a step whose server ended or could not be reached."""
OUT_OF_MEMORY: Final = "OutOfMemory"
"""The reason of a step that ran out of memory, of the machine or of its accelerator."""
INTERNAL: Final = "InternalError"
"""The reason of a step that ended in an exception of no kind that Syntrial knows."""


def to_status(error: BaseException) -> status_pb2.Status:
    """The status that tells a client of `error`; tracebacks stay in the server's log."""
    for kind, reason, code in _REASONS:
        if isinstance(error, kind):
            return _status(code, str(error), reason, _details(error))
    if _is_out_of_memory(error):
        message = f"out of memory: {error}" if str(error) else "out of memory"
        return _status(code_pb2.RESOURCE_EXHAUSTED, message, "OUT_OF_MEMORY", {"retryable": "true"})
    retryable = isinstance(error, OSError | RuntimeError)
    message = f"{type(error).__name__}: {error}"
    return _status(code_pb2.INTERNAL, message, "INTERNAL", {"retryable": "true" if retryable else "false"})


def from_status(status: status_pb2.Status, *, key: str = "") -> errors.SyntrialError:
    """The exception that `status` tells of; the inverse of `to_status`.

    What is not of Syntrial's own tree comes back as `StepError` with reason `OutOfMemory`, `ServerDied` or
    `InternalError`.
    """
    info = _info(status)
    message = status.message
    match info.reason:
        case "SOURCE_ERROR":
            return errors.SourceError(violations=_violations(status, info))
        case "STORE_REFUSED":
            return errors.StoreRefused(violations=_violations(status, info))
        case "USER_ERROR":
            return errors.UserError(violations=_violations(status, info))
        case "DATA_LOSS":
            return errors.DataLoss(message, key=info.metadata.get("key", ""))
        case "OUT_OF_MEMORY":
            return errors.StepError(message, key=key, reason=OUT_OF_MEMORY, retryable=True)
        case "INTERNAL":
            retryable = info.metadata.get("retryable") == "true"
            return errors.StepError(message, key=key, reason=INTERNAL, retryable=retryable)
    for kind, reason, _ in _REASONS:
        if reason == info.reason:
            return kind(message)
    return _of_code(status.code, message, key)


def from_rpc_error(error: grpc.RpcError, *, key: str = "") -> errors.SyntrialError:
    """The exception that a failed call tells of."""
    status = rpc_status.from_call(error)  # type: ignore[arg-type]
    if status is not None:
        return from_status(status, key=key)
    code = error.code()
    return _of_code(code.value[0], f"{code.name}: {error.details()}", key)


def reason_of(error: errors.SyntrialError) -> str:
    """The reason, in CamelCase, under which an attempt that ended in `error` is recorded."""
    return error.reason if isinstance(error, errors.StepError) else type(error).__name__


def is_retryable(error: errors.SyntrialError) -> bool:
    """Whether trying the same step again may succeed with nothing changed by the user."""
    if isinstance(error, errors.StepError):
        return error.retryable
    return isinstance(error, errors.StoreUnavailable | errors.DataLoss | errors.ArtifactMissing)


def not_found(name: str) -> status_pb2.Status:
    """The status of an operation that neither the server nor the store knows."""
    return _status(code_pb2.NOT_FOUND, f"no operation {name!r} on this server or in its store", "NOT_FOUND", {})


def busy(queued: int) -> status_pb2.Status:
    """The status of a request that came while the queue was full."""
    message = f"this server works on one step at a time and {queued} more wait; start another server or call again"
    return _status(code_pb2.RESOURCE_EXHAUSTED, message, "SERVER_BUSY", {})


def refused(code: int, message: str, reason: str) -> status_pb2.Status:
    """A status with a reason of its own."""
    return _status(code, message, reason, {})


def _of_code(code: int, message: str, key: str) -> errors.SyntrialError:
    """The exception for a status without Syntrial's details, such as gRPC itself or a third party's server makes."""
    match code:
        case code_pb2.INVALID_ARGUMENT:
            return errors.UserError(field="request", rule="the server refused it", received=message)
        case code_pb2.UNAUTHENTICATED:
            return errors.UserError(
                field="SYNTRIAL_STAGE_TOKEN",
                rule="the token is that of the stage's server",
                received=message,
                remedy="Set it to the server's token; on a cluster, that of the Secret <release>-stage-token.",
            )
        case code_pb2.CANCELLED:
            return errors.Cancelled(message)
        case code_pb2.DATA_LOSS:
            return errors.DataLoss(message)
        case code_pb2.FAILED_PRECONDITION:
            return errors.VersionMismatch(message)
        case code_pb2.UNAVAILABLE | code_pb2.DEADLINE_EXCEEDED:
            return errors.StepError(message, key=key, reason=SERVER_DIED, retryable=True)
        case code_pb2.RESOURCE_EXHAUSTED | code_pb2.ABORTED:
            return errors.StepError(message, key=key, reason=INTERNAL, retryable=True)
        case _:
            return errors.StepError(message, key=key, reason=INTERNAL, retryable=False)


def _status(code: int, message: str, reason: str, metadata: Mapping[str, str]) -> status_pb2.Status:
    status = status_pb2.Status(code=code, message=message)
    _attach(status, error_details_pb2.ErrorInfo(reason=reason, domain=DOMAIN, metadata=metadata))
    if "violations" in metadata:
        bad_request = error_details_pb2.BadRequest()
        for violation in json.loads(metadata["violations"]):
            text = f"{violation['rule']}; received {violation['received']}. {violation['remedy']}"
            bad_request.field_violations.add(field=violation["field"], description=text)
        _attach(status, bad_request)
    return status


def _attach(status: status_pb2.Status, detail: error_details_pb2.ErrorInfo | error_details_pb2.BadRequest) -> None:
    packed = any_pb2.Any()
    packed.Pack(detail)
    status.details.append(packed)


def _details(error: errors.SyntrialError) -> dict[str, str]:
    if isinstance(error, errors.UserError):
        names = ("field", "rule", "received", "remedy")
        listed = [{name: getattr(violation, name) for name in names} for violation in error.violations]
        return {"violations": json.dumps(listed)}
    if isinstance(error, errors.DataLoss):
        return {"key": error.key}
    return {}


def _info(status: status_pb2.Status) -> error_details_pb2.ErrorInfo:
    info = error_details_pb2.ErrorInfo()
    for detail in status.details:
        if detail.Is(info.DESCRIPTOR):
            detail.Unpack(info)
    return info


def _violations(status: status_pb2.Status, info: error_details_pb2.ErrorInfo) -> list[errors.Violation]:
    if "violations" in info.metadata:
        return [errors.Violation(**violation) for violation in json.loads(info.metadata["violations"])]
    return [errors.Violation(field="request", rule=status.message, received="", remedy="")]


def _is_out_of_memory(error: BaseException) -> bool:
    # torch is not imported here, so its exceptions are told by their names.
    names = {kind.__name__ for kind in type(error).__mro__}
    return isinstance(error, MemoryError) or "OutOfMemoryError" in names or "can't allocate memory" in str(error)
