"""Errors go over the wire and come back as what they were."""

import pytest
from google.rpc import code_pb2, error_details_pb2, status_pb2

from syntrial import errors
from syntrial.rpc.wire_errors import from_status, is_retryable, reason_of, to_status

VIOLATIONS = (
    errors.Violation(field="spec.arms[1]", rule="must be known", received="augmnt", remedy="Write augment-100."),
    errors.Violation(field="spec.endpoint", rule="must be set", received="", remedy="Set it."),
)


@pytest.mark.parametrize(
    ("error", "code", "retryable"),
    [
        (errors.UserError(violations=VIOLATIONS), code_pb2.INVALID_ARGUMENT, False),
        (errors.SourceError(violations=VIOLATIONS[:1]), code_pb2.INVALID_ARGUMENT, False),
        (errors.StoreRefused(violations=VIOLATIONS[:1]), code_pb2.INVALID_ARGUMENT, False),
        (errors.Cancelled("stop"), code_pb2.CANCELLED, False),
        (errors.DataLoss("damaged", key="ab"), code_pb2.DATA_LOSS, True),
        (errors.ArtifactMissing("gone"), code_pb2.FAILED_PRECONDITION, True),
        (errors.VersionMismatch("old"), code_pb2.FAILED_PRECONDITION, False),
        (errors.StoreUnavailable("silent"), code_pb2.UNAVAILABLE, True),
        (errors.StoreFull("full"), code_pb2.RESOURCE_EXHAUSTED, False),
    ],
)
def test_syntrials_own_errors_come_back_as_they_were(error: errors.SyntrialError, code: int, retryable: bool) -> None:
    status = to_status(error)
    assert status.code == code
    back = from_status(status_pb2.Status.FromString(status.SerializeToString()))
    assert type(back) is type(error)
    assert str(back) == str(error)
    assert vars(back) == vars(error)
    assert is_retryable(back) is retryable
    assert reason_of(back) == type(error).__name__


def test_a_users_error_carries_a_bad_request_for_clients_of_other_kinds() -> None:
    bad = error_details_pb2.BadRequest()
    assert any(detail.Unpack(bad) for detail in to_status(errors.UserError(violations=VIOLATIONS)).details)
    assert [violation.field for violation in bad.field_violations] == ["spec.arms[1]", "spec.endpoint"]
    assert bad.field_violations[0].description == "must be known; received augmnt. Write augment-100."


class OutOfMemoryError(RuntimeError):
    """Named as torch's own."""


@pytest.mark.parametrize(
    ("error", "reason", "retryable"),
    [
        (MemoryError(), "OutOfMemory", True),
        (OutOfMemoryError("CUDA out of memory"), "OutOfMemory", True),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory"), "OutOfMemory", True),
        (ConnectionResetError("reset"), "InternalError", True),
        (KeyError("missing"), "InternalError", False),
    ],
)
def test_other_errors_come_back_as_failed_steps(error: Exception, reason: str, retryable: bool) -> None:
    back = from_status(to_status(error), key="k")
    assert isinstance(back, errors.StepError)
    assert (back.key, back.reason, back.retryable) == ("k", reason, retryable)


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (code_pb2.INVALID_ARGUMENT, errors.UserError),
        (code_pb2.CANCELLED, errors.Cancelled),
        (code_pb2.DATA_LOSS, errors.DataLoss),
        (code_pb2.FAILED_PRECONDITION, errors.VersionMismatch),
        (code_pb2.UNAVAILABLE, errors.StepError),
        (code_pb2.UNKNOWN, errors.StepError),
    ],
)
def test_a_status_without_details_is_told_by_its_code(code: int, kind: type[errors.SyntrialError]) -> None:
    back = from_status(status_pb2.Status(code=code, message="words of another server"))
    assert type(back) is kind
    assert "words of another server" in str(back)
