"""What a user of the upstream pool implements."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, TypeAlias

from anywasm.server.http.request import Headers
from anywasm.server.upstream.failure import UpstreamFailure


class ResponseHandler(Protocol):
    """The response side of one upstream stream, called on the event loop and never concurrently.

    The order is that of Envoy's stream encoder: any number of informational heads, the head, any
    number of data, then either an empty data with `end_stream` or trailers. `end_stream` comes on
    its own, never with the last bytes. Exactly one of `on_upstream_complete` and
    `on_upstream_reset` ends every stream, and nothing is called after it. Nothing is called
    before `UpstreamPool.request` has returned.

    An exception leaving a callback is logged and resets the stream.
    """

    def on_informational(self, status: int, headers: Headers) -> None:
        """A 1xx head other than 101, such as 100 or 103; the response is still to come."""

    def on_response_headers(self, status: int, headers: Headers, end_stream: bool) -> None:
        """The head of the response; with `end_stream` there is nothing more."""

    def on_response_data(self, data: bytes, end_stream: bool) -> None:
        """A piece of the body, with chunked coding removed; empty with `end_stream`."""

    def on_response_trailers(self, trailers: Headers) -> None:
        """The response ended with trailers, at least one; names are lower-cased."""

    def on_upstream_unwritable(self) -> None:
        """More than `high_water` bytes wait for the upstream: stop sending.

        Called from inside the sending call that passed the mark.
        """

    def on_upstream_writable(self) -> None:
        """The upstream has caught up to `low_water`: go on sending."""

    def on_upstream_complete(self) -> None:
        """The whole response was delivered; what is sent from now on is dropped."""

    def on_upstream_reset(self, failure: UpstreamFailure) -> None:
        """The stream ended in any other way; what is sent from now on is dropped."""


class WholeResponseHandler(ResponseHandler, Protocol):
    """A handler that also takes a response at once, where nothing could come between its parts."""

    def on_whole_response(self, status: int, headers: Headers, body: bytes) -> None:
        """Everything that was to come before `on_upstream_complete`, in one call.

        Called in the place of `on_response_headers` and what follows it, for most responses that
        are small and have a `content-length`; `body` may be empty. It is too late to pause.
        """


#: Takes raw bytes after a 101: a piece, or empty bytes with True at the end of that direction.
UpgradedData: TypeAlias = Callable[[bytes, bool], None]
