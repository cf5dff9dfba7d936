"""The channel between the supervisor and a worker, where one of them goes."""

from __future__ import annotations

import asyncio
import gc
import socket
from typing import Any

import pytest

from anywasm.server.workers.channel import Channel, ChannelClosedError


def test_an_answer_that_nobody_waits_for_any_more_is_no_error() -> None:
    complaints: list[dict[str, Any]] = []

    async def run() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _, told: complaints.append(told))
        ours, theirs = socket.socketpair()
        asked = asyncio.Event()

        async def answer(body: Any) -> Any:
            asked.set()
            here.close()
            return body

        here = await Channel({"ask": answer}).open(ours)
        there = await Channel({}).open(theirs)
        with pytest.raises(ChannelClosedError):
            await there.call("ask", 1, timeout=30)
        assert asked.is_set()
        await asyncio.gather(here.closed, there.closed)

    asyncio.run(run())
    gc.collect()
    assert complaints == []
