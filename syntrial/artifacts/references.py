"""What a request names beside its parameters: members of artifacts, and sources by the digest of their content."""

from collections.abc import Iterator

from google.protobuf.message import Message

from syntrial.v1.artifacts_pb2 import MemberRef


def member_refs(request: Message) -> Iterator[MemberRef]:
    """All references to members of artifacts in a request, in the order of its fields."""
    for message in _messages(request):
        if isinstance(message, MemberRef):
            yield message


def source_digests(request: Message) -> set[str]:
    """The digests of all sources (data sets, imported images, weights) that a request names."""
    return {
        value
        for message in _messages(request)
        for field, value in message.ListFields()
        if field.name == "digest" and isinstance(value, str)
    }


def _messages(message: Message) -> Iterator[Message]:
    """The message and all that stand in it, but those of maps and of its header, which is no part of what is asked."""
    yield message
    for field, value in message.ListFields():
        if field.message_type is None or field.message_type.GetOptions().map_entry or field.name == "header":
            continue
        for child in value if field.is_repeated else (value,):
            yield from _messages(child)
