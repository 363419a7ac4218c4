"""Calling a stage from a script: requests with their keys, steps run to their end, images put where a stage reads them.

    with stage_at("127.0.0.1:50051") as client:
        key = run(client, SampleImagesRequest(generator=…, train=…, ratio=0.1, seed=7))
        images = read_image_set(store.open(MemberRef(key=key, member="images")))

Only references cross the wire: the script and the server read and write one store. Whole scripts: `examples/clients`.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from hashlib import sha256
from typing import Any, Final, TypeVar

import grpc
import numpy as np
from google.protobuf import json_format
from google.protobuf.message import Message

from syntrial.artifacts.keys import canonical_json, step_key
from syntrial.artifacts.store import ArtifactStore
from syntrial.errors import ArtifactMissing
from syntrial.imagesets.imageset import ImageSet, write_image_set
from syntrial.rpc.client import CHANNEL_OPTIONS, StageClient, operation_name, result_of
from syntrial.stages import METHODS, stage_of
from syntrial.v1.artifacts_pb2 import MemberRef
from syntrial.v1.progress_pb2 import StepProgress

_M = TypeVar("_M", bound=Message)
_OPTIONS: Final = (*CHANNEL_OPTIONS, ("grpc.enable_http_proxy", 0))


TOKEN_VARIABLE: Final = "SYNTRIAL_STAGE_TOKEN"  # noqa: S105 - its name
"""The environment variable with the token of the stages that are called."""


@contextmanager
def stage_at(
    address: str, /, *, token: str | None = None, tls: grpc.ChannelCredentials | None = None, server_name: str = ""
) -> Iterator[StageClient]:
    """A client of the stage that serves at "host:port" or "unix:/path".

    `token` is by default that of `TOKEN_VARIABLE`, if any. `tls` is for a server with a certificate, whose name
    `server_name` is where the address is another, as of a port-forward.
    """
    options = (*_OPTIONS, ("grpc.ssl_target_name_override", server_name)) if server_name else _OPTIONS
    token = os.environ.get(TOKEN_VARIABLE, "") if token is None else token
    opened = (
        grpc.secure_channel(address, tls, options=options)
        if tls is not None
        else grpc.insecure_channel(address, options=options)
    )
    with opened as channel:
        yield StageClient(grpc.intercept_channel(channel, _Bearer(token)) if token else channel)


class _Bearer(grpc.UnaryUnaryClientInterceptor, grpc.UnaryStreamClientInterceptor):
    """Sends a token with each call."""

    def __init__(self, token: str) -> None:
        self._sent = ("authorization", f"Bearer {token}")

    def _told(self, details: Any) -> Any:
        return details._replace(metadata=[*(details.metadata or ()), self._sent])

    def intercept_unary_unary(self, continuation: Callable[..., Any], details: Any, request: Any) -> Any:
        return continuation(self._told(details), request)

    def intercept_unary_stream(self, continuation: Callable[..., Any], details: Any, request: Any) -> Any:
        return continuation(self._told(details), request)


def run(
    client: StageClient, request: Message, /, *, on_progress: Callable[[StepProgress], None] = lambda _progress: None
) -> str:
    """Runs a step to its end, or finds it done; returns the key of its artifact. Raises what the step raises.

    The request's header is filled in. Interrupted, the step goes on; the same call finds it again.
    """
    method = method_of(request)
    full = type(request)()
    full.CopyFrom(request)
    header = full.header  # type: ignore[attr-defined]
    header.stage_version = stage_of(method).version
    header.key = step_key(method, full, stage_version=header.stage_version)
    operation = client.start(method, full)
    if not operation.done:
        for response in client.watch(operation_name(header.key)):
            on_progress(response.progress)
        operation = client.get(operation_name(header.key))
    return result_of(operation, key=header.key).key


def method_of(request: Message) -> str:
    """The method that takes this kind of request, for example "syntrial.v1.GenerationService/SampleImages"."""
    for name, kind in METHODS.items():
        if isinstance(request, kind):
            return name
    raise KeyError(type(request).__name__)


def asked(store: ArtifactStore, key: str, kind: type[_M], /) -> _M:
    """The request that made an artifact, without its header: to be changed and asked again.

    Raises ArtifactMissing where there is no such artifact, ValueError where its step is of another kind.
    """
    manifest = store.manifest(key)
    if manifest is None:
        raise ArtifactMissing(f"step {key[:12]} is not done in the store {store.url}")
    request = kind()
    if manifest.method != method_of(request):
        raise ValueError(f"step {key[:12]} is a {manifest.method}, not a {method_of(request)}")
    json_format.ParseDict(dict(manifest.request), request)
    return request


def put_images(store: ArtifactStore, images: ImageSet, /) -> MemberRef:
    """Puts images into the store, where a stage can read them; the same images are the same artifact.

    No experiment reaches them: garbage collection takes them when they are older than its age.
    """
    about = {
        "classes": list(images.classes),
        "task": images.task,
        "shape": list(images.images_NHWC.shape),
        "origins": {name: list(column) for name, column in images.origins.items()},
    }
    content = sha256(canonical_json(about))
    for array in (images.images_NHWC, images.labels):
        content.update(np.ascontiguousarray(array).data)
    writer = store.writer(content.hexdigest(), method="syntrial.clients/PutImages", stage_version=1, request={})
    write_image_set(writer, "images", images)
    store.commit(writer)
    return MemberRef(key=writer.key, member="images")
