"""What a user of the HTTP data plane implements."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol, TypeAlias, runtime_checkable

from anywasm.server.http.request import Headers

if TYPE_CHECKING:
    from anywasm.server.http.exchange import HttpExchange
    from anywasm.server.http.state import ListenerState


class RequestHandler(Protocol):
    """The request side of one exchange, called on the event loop and never concurrently.

    The order is that of Envoy's stream decoder: headers, any number of data, then either an empty
    data with `end_stream` or trailers. `end_stream` comes on its own, never with the last bytes,
    however the client's packets were cut (envoy-like hosts show this to their filters). Exactly
    one of `on_complete` and `on_reset` ends every exchange, and nothing is called after it.

    An exception leaving a request callback is logged and answered with 500, or with a cut
    connection where the response has started; the exchange then ends with `on_reset`.
    """

    def on_request_headers(self, end_stream: bool) -> None:
        """The request head is in the exchange; with `end_stream` there is nothing more."""

    def on_request_data(self, data: bytes, end_stream: bool) -> None:
        """A piece of the body, with chunked coding removed; empty with `end_stream`."""

    def on_request_trailers(self, trailers: Headers) -> None:
        """The request ended with trailers, at least one; names are lower-cased."""

    def on_unwritable(self) -> None:
        """More than `high_water` bytes wait for the client: stop sending.

        Called from inside the sending call that passed the mark.
        """

    def on_writable(self) -> None:
        """The client has caught up to `low_water`: go on sending."""

    def on_complete(self) -> None:
        """The whole response was handed to the transport; called from the call that ended it."""

    def on_reset(self, reason: str) -> None:
        """The exchange ended in any other way; what is sent from now on is dropped."""


#: Takes raw bytes after an upgrade: a piece, or empty bytes with True at the end of that
#: direction.
UpgradedData: TypeAlias = Callable[[bytes, bool], None]

#: Makes the handler of an exchange. The exchange accepts no response before it has returned.
HandlerFactory: TypeAlias = "Callable[[HttpExchange], RequestHandler]"

#: Takes target and headers of a GET without a body, on a connection that stays open, and returns
#: the whole response as bytes; or None, and the request gets an exchange.
AtOnce: TypeAlias = Callable[[bytes, Headers], "bytes | None"]


@runtime_checkable
class AnswersAtOnce(Protocol):
    """A handler factory that knows the answers to some requests beforehand."""

    def at_once(self, shared: ListenerState) -> AtOnce | None:
        """What gives them, or None where there are none; asked once for each listener."""
