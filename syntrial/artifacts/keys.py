"""The key of a step: SHA-256 of what it is asked to do, in canonical form.

Called by the planner, which needs keys before anything runs, and by every server, which recomputes the key of each
request and refuses another.
"""

import hashlib
import json
import re
import struct
from typing import Final

import rfc8785
from google.protobuf import json_format
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

KEY_PATTERN = re.compile(r"[0-9a-f]{64}")
"""What a key looks like: 64 lower-case hexadecimal digits."""


_SAFE: Final = 2**53 - 1
"""The largest integer that all readers of JSON tell from its neighbours."""

_ENCODER: Final = json.JSONEncoder(
    ensure_ascii=False, sort_keys=True, separators=(",", ":"), check_circular=False, allow_nan=False
)


def canonical_json(value: object) -> bytes:
    """RFC 8785 canonical JSON of a tree of dicts, lists, strings, numbers, booleans and None.

    What the standard library's encoder, which is C, writes alike is left to it: a third of the time, and the controller
    does this for each step and each manifest. The rest (other scripts, very large and very small numbers, what is to be
    refused) is rfc8785's.

    Raises ValueError for numbers that JSON or IEEE 754 cannot carry (NaN, infinities, integers over 2^53).
    """
    try:
        text = _ENCODER.encode(_alike(value))
    except _NotAlikeError:
        text = ""
    # Names in other scripts are sorted by their UTF-16.
    if text and text.isascii():
        return text.encode()
    encoded: bytes = rfc8785.dumps(value)  # type: ignore[arg-type]
    return encoded


class _NotAlikeError(Exception):
    """A value that the standard library might write otherwise than RFC 8785."""


def _alike(value: object) -> object:
    """The tree with whole numbers as integers; raises _NotAlikeError where the encoders may differ in a value."""
    if type(value) is str or type(value) is bool or value is None:
        return value
    if type(value) is dict:
        if not all(type(name) is str for name in value):
            raise _NotAlikeError
        return {name: _alike(item) for name, item in value.items()}
    if type(value) is list or type(value) is tuple:
        return [_alike(item) for item in value]
    if type(value) is float:
        if not value.is_integer():
            # Between these, both write a fraction in plain digits.
            if 1e-4 <= abs(value) < 2**52:
                return value
            raise _NotAlikeError
        value = int(value)
    if type(value) is int and -_SAFE <= value <= _SAFE:
        return value
    raise _NotAlikeError


_NEGATIVE_ZEROS: Final = struct.pack("<f", -0.0), struct.pack("<d", -0.0)
"""As Protobuf writes them; other fields may hold the same bytes."""


def canonical_digest(value: object) -> str:
    """SHA-256, in hexadecimal, of the canonical JSON of `value`."""
    return hashlib.sha256(canonical_json(value)).hexdigest()


def canonical_request(request: Message) -> dict[str, object]:
    """The request, or a part of one, as ProtoJSON without its header; fields equal to their default are left out."""
    body = type(request)()
    body.CopyFrom(request)
    if "header" in body.DESCRIPTOR.fields_by_name:
        body.ClearField("header")
    if any(zero in body.SerializeToString() for zero in _NEGATIVE_ZEROS):
        _clear_negative_zeros(body)
    tree: dict[str, object] = json_format.MessageToDict(body)
    return tree


def step_key(method: str, request: Message, *, stage_version: int) -> str:
    """The key of the step that `method` ("syntrial.v1.FilteringService/FilterImages") makes of `request`.

    The header (key, versions, places) does not enter, names and times are not in requests at all, and numbers are
    compared by value: 1, 1.0 and 1e0 give one key.
    """
    return canonical_digest({"method": method, "stageVersion": stage_version, "request": canonical_request(request)})


def _clear_negative_zeros(message: Message) -> None:
    """Makes -0.0 a default like 0.0: the two are one number, but Protobuf tells them apart by their bits."""
    for descriptor, value in message.ListFields():
        if descriptor.message_type is not None and descriptor.message_type.full_name == "google.protobuf.Struct":
            # Any JSON, whose numbers RFC 8785 writes by value.
            continue
        if descriptor.cpp_type == FieldDescriptor.CPPTYPE_MESSAGE:
            for child in value if descriptor.is_repeated else (value,):
                _clear_negative_zeros(child)
        elif not descriptor.is_repeated and not descriptor.has_presence and value == 0:
            message.ClearField(descriptor.name)
