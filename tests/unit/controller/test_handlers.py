"""The door to kopf: what its health endpoint answers."""

import asyncio
import socket
from typing import Any, cast

import aiohttp
import kopf
import pytest
from kopf._core.engines.indexing import OperatorIndexers
from kopf._core.engines.probing import health_reporter

from syntrial.controller.controller import Controller
from syntrial.controller.handlers import _registry


class Hanging:
    """A controller at one of whose experiments a look hangs, or none."""

    inventory = None

    def __init__(self, *uids: str) -> None:
        self._uids = uids

    def hung(self) -> list[str]:
        return list(self._uids)


async def asked(controller: Any) -> int:
    """The status that the health endpoint answers with."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    address, ready = f"http://127.0.0.1:{port}/healthz", asyncio.Event()
    reporter = asyncio.create_task(
        health_reporter(
            address,
            memo=kopf.Memo(),
            indices=OperatorIndexers().indices,
            registry=_registry(cast(Controller, controller)),
            settings=kopf.OperatorSettings(),
            ready_flag=ready,
        )
    )
    await ready.wait()
    try:
        async with aiohttp.ClientSession() as session, session.get(address) as response:
            return response.status
    finally:
        reporter.cancel()
        await asyncio.gather(reporter, return_exceptions=True)


@pytest.mark.parametrize(("hung", "status"), [((), 200), (("uid-1",), 500)])
def test_the_process_is_healthy_unless_a_look_hangs(hung: tuple[str, ...], status: int) -> None:
    assert asyncio.run(asked(Hanging(*hung))) == status
