from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class WatchRequest(_message.Message):
    __slots__ = ("name", "resume_token")
    NAME_FIELD_NUMBER: _ClassVar[int]
    RESUME_TOKEN_FIELD_NUMBER: _ClassVar[int]
    name: str
    resume_token: str
    def __init__(self, name: _Optional[str] = ..., resume_token: _Optional[str] = ...) -> None: ...

class WatchResponse(_message.Message):
    __slots__ = ("resume_token", "progress")
    RESUME_TOKEN_FIELD_NUMBER: _ClassVar[int]
    PROGRESS_FIELD_NUMBER: _ClassVar[int]
    resume_token: str
    progress: StepProgress
    def __init__(self, resume_token: _Optional[str] = ..., progress: _Optional[_Union[StepProgress, _Mapping]] = ...) -> None: ...

class StepProgress(_message.Message):
    __slots__ = ("key", "method", "activity", "done", "total", "unit", "rate", "figures", "state", "resources_used")
    class State(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        STATE_UNSPECIFIED: _ClassVar[StepProgress.State]
        STATE_QUEUED: _ClassVar[StepProgress.State]
        STATE_RUNNING: _ClassVar[StepProgress.State]
        STATE_SUCCEEDED: _ClassVar[StepProgress.State]
        STATE_FAILED: _ClassVar[StepProgress.State]
        STATE_CANCELLED: _ClassVar[StepProgress.State]
    STATE_UNSPECIFIED: StepProgress.State
    STATE_QUEUED: StepProgress.State
    STATE_RUNNING: StepProgress.State
    STATE_SUCCEEDED: StepProgress.State
    STATE_FAILED: StepProgress.State
    STATE_CANCELLED: StepProgress.State
    class FiguresEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: float
        def __init__(self, key: _Optional[str] = ..., value: _Optional[float] = ...) -> None: ...
    KEY_FIELD_NUMBER: _ClassVar[int]
    METHOD_FIELD_NUMBER: _ClassVar[int]
    ACTIVITY_FIELD_NUMBER: _ClassVar[int]
    DONE_FIELD_NUMBER: _ClassVar[int]
    TOTAL_FIELD_NUMBER: _ClassVar[int]
    UNIT_FIELD_NUMBER: _ClassVar[int]
    RATE_FIELD_NUMBER: _ClassVar[int]
    FIGURES_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    RESOURCES_USED_FIELD_NUMBER: _ClassVar[int]
    key: str
    method: str
    activity: str
    done: int
    total: int
    unit: str
    rate: float
    figures: _containers.ScalarMap[str, float]
    state: StepProgress.State
    resources_used: ResourcesUsed
    def __init__(self, key: _Optional[str] = ..., method: _Optional[str] = ..., activity: _Optional[str] = ..., done: _Optional[int] = ..., total: _Optional[int] = ..., unit: _Optional[str] = ..., rate: _Optional[float] = ..., figures: _Optional[_Mapping[str, float]] = ..., state: _Optional[_Union[StepProgress.State, str]] = ..., resources_used: _Optional[_Union[ResourcesUsed, _Mapping]] = ...) -> None: ...

class ResourcesUsed(_message.Message):
    __slots__ = ("wall_seconds", "cpu_seconds", "peak_memory_bytes")
    WALL_SECONDS_FIELD_NUMBER: _ClassVar[int]
    CPU_SECONDS_FIELD_NUMBER: _ClassVar[int]
    PEAK_MEMORY_BYTES_FIELD_NUMBER: _ClassVar[int]
    wall_seconds: float
    cpu_seconds: float
    peak_memory_bytes: int
    def __init__(self, wall_seconds: _Optional[float] = ..., cpu_seconds: _Optional[float] = ..., peak_memory_bytes: _Optional[int] = ...) -> None: ...
