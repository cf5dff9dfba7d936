"""HTTP calls of guests (`proxy_http_call`)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from anywasm.abi.calls import HttpCall, HttpCallResponse
from anywasm.server.callouts.http_call import HttpRun
from anywasm.server.callouts.loop import soon
from anywasm.server.upstream import UpstreamClusters

MAX_BODY_BYTES = 10 * 1024 * 1024


class HttpCalls:
    """`HttpCaller` (`anywasm.abi.calls`) over the upstream pools.

    Calls begin from any thread; responses come on the loop's. Failures are responses, recorded
    from Envoy 1.40: 504 `upstream request timeout`, and 503 (502 for what is no HTTP) with
    `upstream connect error or disconnect/reset before headers. reset reason: ...`; both have
    `:status`, `content-length` and `content-type: text/plain`.

    Args:
        clusters: What may be called.
        loop: The event loop that the pools belong to.
        max_body_bytes: A longer response body is a 503.
    """

    def __init__(
        self,
        clusters: UpstreamClusters,
        loop: asyncio.AbstractEventLoop,
        max_body_bytes: int = MAX_BODY_BYTES,
    ) -> None:
        self._clusters = clusters
        self._loop = loop
        self._max_body_bytes = max_body_bytes

    def call(
        self, call: HttpCall, on_response: Callable[[HttpCallResponse], None]
    ) -> HttpRun | None:
        """Begin a call; None where there is no such cluster."""
        pool = self._clusters.get(call.cluster)
        if pool is None:
            return None
        run = HttpRun(self._loop, pool, call, self._max_body_bytes, on_response)
        soon(self._loop, run.start)
        return run
