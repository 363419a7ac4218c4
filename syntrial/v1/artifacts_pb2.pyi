from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class MemberRef(_message.Message):
    __slots__ = ("key", "member")
    KEY_FIELD_NUMBER: _ClassVar[int]
    MEMBER_FIELD_NUMBER: _ClassVar[int]
    key: str
    member: str
    def __init__(self, key: _Optional[str] = ..., member: _Optional[str] = ...) -> None: ...

class SourceLocation(_message.Message):
    __slots__ = ("digest", "path")
    DIGEST_FIELD_NUMBER: _ClassVar[int]
    PATH_FIELD_NUMBER: _ClassVar[int]
    digest: str
    path: str
    def __init__(self, digest: _Optional[str] = ..., path: _Optional[str] = ...) -> None: ...

class Execution(_message.Message):
    __slots__ = ("source_locations", "devices")
    SOURCE_LOCATIONS_FIELD_NUMBER: _ClassVar[int]
    DEVICES_FIELD_NUMBER: _ClassVar[int]
    source_locations: _containers.RepeatedCompositeFieldContainer[SourceLocation]
    devices: int
    def __init__(self, source_locations: _Optional[_Iterable[_Union[SourceLocation, _Mapping]]] = ..., devices: _Optional[int] = ...) -> None: ...

class StepHeader(_message.Message):
    __slots__ = ("key", "stage_version", "execution")
    KEY_FIELD_NUMBER: _ClassVar[int]
    STAGE_VERSION_FIELD_NUMBER: _ClassVar[int]
    EXECUTION_FIELD_NUMBER: _ClassVar[int]
    key: str
    stage_version: int
    execution: Execution
    def __init__(self, key: _Optional[str] = ..., stage_version: _Optional[int] = ..., execution: _Optional[_Union[Execution, _Mapping]] = ...) -> None: ...

class StepResult(_message.Message):
    __slots__ = ("key", "artifact_digest")
    KEY_FIELD_NUMBER: _ClassVar[int]
    ARTIFACT_DIGEST_FIELD_NUMBER: _ClassVar[int]
    key: str
    artifact_digest: str
    def __init__(self, key: _Optional[str] = ..., artifact_digest: _Optional[str] = ...) -> None: ...
