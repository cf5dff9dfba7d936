"""Work that would keep the loop waiting, in threads that end with it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")


async def in_thread(work: Callable[..., T], *arguments: object) -> T:
    """Do what is rare in a thread of its own; its exception comes out as itself.

    A pool's threads would stay, and with them the price that every call of a guest pays for other
    threads (see `anywasm.core.threads`). Where the caller is cancelled, the work goes on.
    """
    executor = ThreadPoolExecutor(1, "anywasm-work")
    try:
        return await asyncio.get_running_loop().run_in_executor(executor, work, *arguments)
    finally:
        executor.shutdown(wait=False)
