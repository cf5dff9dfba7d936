"""Handing several pieces to a transport at once."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable


def writelines_of(transport: asyncio.WriteTransport) -> Callable[[Iterable[bytes]], None]:
    """A transport's own `writelines` where it can be trusted; else one that joins and writes.

    From Python 3.12 on, asyncio's own socket transport writes pieces without joining them, but
    never says that the peer does not keep up (gh-127655, CVE-2024-12254), trips over a lost
    connection (gh-136234), and never closes after an empty piece (gh-155888). Which release mends
    which differs; `write` is right in all of them. uvloop has transports of its own.
    """
    if not type(transport).__module__.startswith("asyncio."):
        return transport.writelines
    write = transport.write
    return lambda pieces: write(b"".join(pieces))
