"""One client connection: bytes in, exchanges one after the other, bytes out."""

from __future__ import annotations

import asyncio
import itertools
import logging
import socket
import struct
from collections import deque
from functools import partial
from typing import TYPE_CHECKING, Any, Final, cast

from anywasm.server.http.codec import parse_plain
from anywasm.server.http.errors import ExchangeStateError, ProtocolError
from anywasm.server.http.exchange import COMPLETE, END_FAILED, OPEN, HttpExchange
from anywasm.server.http.fields import error_response
from anywasm.server.http.parser import RequestParser
from anywasm.server.http.watch import Phase, Watch
from anywasm.server.writelines import writelines_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from anywasm.server.http.parser import Event
    from anywasm.server.http.state import ListenerState

log: Final = logging.getLogger("anywasm.server.http")

# What is parsed before its events are delivered: bounds what a burst of pipelined requests, or
# of tiny chunks, can make of one big read.
_SLICE: Final = 16 * 1024
_RESET_ON_CLOSE: Final = struct.pack("ii", 1, 0)
_ids: Final = itertools.count(1)
# Compiled code looks the names of modules up each time, but not what is final.
_parse_plain: Final = parse_plain


class HttpConnection:
    """The protocol of one accepted connection; lives on the event loop of its listener.

    Bytes are parsed first and delivered afterwards, so that no handler runs inside the parser and
    a response can know whether its request has already been read to the end. Requests are
    answered in order: a later one is not started before the earlier response is complete.

    It is an `asyncio.Protocol` by its methods alone: compiled, a class above it that is not would
    make its attributes slow.

    Attributes:
        id: Unique in the process.
        shared: What the listener's connections have in common.
        current: The exchange under way.
        write_paused: The transport holds more than `high_water` unsent bytes.
        peer_address: The client's address and port; None on a Unix socket.
        client: The address alone, as headers tell it.
        local_address: The server's address and port; None on a Unix socket.
        is_tls: Whether the transport is encrypted.
        bytes_received: Bytes read, before parsing.
        bytes_sent: Bytes given to the transport.
    """

    __slots__ = (
        "_answered",
        "_closing",
        "_counters",
        "_delivering",
        "_events",
        "_factory",
        "_held",
        "_max_headers",
        "_most_plain",
        "_parser",
        "_pumping",
        "_reading",
        "_seen",
        "_stash",
        "_transport",
        "_watch",
        "_write",
        "_writelines",
        "bytes_received",
        "bytes_sent",
        "client",
        "current",
        "id",
        "is_tls",
        "local_address",
        "peer_address",
        "shared",
        "write_paused",
    )

    _transport: asyncio.Transport
    _write: Callable[[bytes], None]
    _writelines: Callable[[Iterable[bytes]], None]

    def __init__(self, shared: ListenerState) -> None:
        self.id = next(_ids)
        self.shared = shared
        self._counters = shared.counters
        self._factory = shared.factory
        self.current: HttpExchange | None = None
        self.write_paused = False
        limits = shared.limits
        self._parser = RequestParser(limits, partial(HttpExchange, self))
        self._max_headers = limits.max_headers
        # Larger ones may be good requests, too.
        self._most_plain = min(limits.max_header_bytes, limits.max_target_bytes)
        self._events = self._parser.events
        self._stash: deque[bytes] = deque()
        self._delivering = False  # the body of the latest request has not been delivered whole
        self._pumping = False
        self._held = False
        self._reading = True
        self._closing = False
        self.bytes_received = self.bytes_sent = 0
        self._seen = 0  # the bytes received at the last sweep
        self._answered = False  # since then
        self._watch = Watch(limits)

    # --- called by the transport ------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take over an accepted connection."""
        # uvloop's transports are no subclass of asyncio's.
        self._transport = cast("asyncio.Transport", transport)
        limits = self.shared.limits
        self._transport.set_write_buffer_limits(high=limits.high_water, low=limits.low_water)
        self._write = self._transport.write
        self._writelines = writelines_of(self._transport)
        self.peer_address = _address(transport.get_extra_info("peername"))
        self.client = None if self.peer_address is None else self.peer_address[0].encode()
        self.local_address = _address(transport.get_extra_info("sockname"))
        self.is_tls = transport.get_extra_info("ssl_object") is not None
        self._counters.connections += 1
        self.shared.connections.add(self)
        if self.shared.refusing:
            self._close(linger=False)

    def data_received(self, data: bytes) -> None:
        """Parse and deliver what the client sent."""
        self.bytes_received += len(data)
        if self._closing:
            return
        # A plain request, which no other is before, is answered without llhttp and a pump.
        if (
            self.current is None
            and self._parser.between
            and len(data) <= self._most_plain
            and not (self._events or self._stash or self._pumping or self.write_paused)
        ):
            found = _parse_plain(data, self._max_headers)
            if found is not None:
                method, target, headers, body = found
                shared = self.shared
                if (
                    shared.at_once is not None
                    and method == b"GET"
                    and not (body or shared.draining)
                ):
                    answer = shared.at_once(target, headers)
                    if answer is not None:
                        self._counters.exchanges += 1
                        self._answered = True
                        self.write(answer)
                        return
                length = None if body is None else len(body)
                exchange = HttpExchange(
                    self, method, target, "1.1", headers, True, length, bool(body), False
                )
                exchange.received = True  # with its body
                if body:
                    self._events += (exchange, body, [])
                    self._pump()
                else:
                    self._open(exchange)
                return
        if self._stash or len(data) > _SLICE:
            self._stash.extend(data[at : at + _SLICE] for at in range(0, len(data), _SLICE))
        else:
            self._parser.feed(data)
        self._pump()

    def eof_received(self) -> bool:
        """Take the end of the client's bytes for the end of the client, as Envoy does.

        What was already answered is still sent. After an upgrade it is the end of one direction.
        """
        exchange = self.current
        if exchange is None:
            return False
        if exchange.upgraded and self._transport.can_write_eof():
            self._events += (*self._stash, [])
            self._stash.clear()
            self._pump()
            return not self._closing
        self.cut("the client closed the connection")
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """End the exchange under way, if any."""
        self._forget()
        self._reset_current(
            "the client closed the connection" if exc is None else f"the connection failed: {exc}"
        )
        self.shared.connection_closed(self)

    def pause_writing(self) -> None:
        """Tell the handler that the client does not keep up."""
        self.write_paused = True
        self._tell_writable()

    def resume_writing(self) -> None:
        """Tell the handler that the client has caught up; go on with waiting requests."""
        self.write_paused = False
        self._tell_writable()
        self._pump_soon()

    def _tell_writable(self) -> None:
        exchange = self.current
        if exchange is None or exchange.handler is None:
            return
        try:
            if self.write_paused:
                exchange.handler.on_unwritable()
            else:
                exchange.handler.on_writable()
        except Exception:
            self._handler_failed()

    # --- called by the exchange -------------------------------------------------------------------

    def write(self, data: bytes) -> None:
        """Hand bytes of the response to the transport."""
        self.bytes_sent += len(data)
        self._write(data)

    def write_last(self, exchange: HttpExchange, data: bytes, close: bool) -> None:
        """Hand over the last bytes of a response; as `write` and `exchange_done`, in one call."""
        self.bytes_sent += len(data)
        self._write(data)
        if self.current is not exchange:
            return
        if close or self._events or not (exchange.received and self._reading):
            self.exchange_done(exchange, close, None)
            return
        self.current = None
        self._held = False
        self._answered = True
        exchange.state = COMPLETE
        handler = exchange.handler
        exchange.handler = None
        if handler is not None:
            try:
                handler.on_complete()
            except Exception:
                log.exception(END_FAILED)

    def writelines(self, pieces: Iterable[bytes]) -> None:
        """Hand several pieces to the transport, without joining them where it can do so."""
        pieces = tuple(pieces)
        self.bytes_sent += sum(map(len, pieces))
        self._writelines(pieces)

    def hold(self, held: bool) -> None:
        """Stop or restart the delivery of the current request."""
        self._held = held
        if held:
            self._update_reading()
        else:
            self._pump_soon()

    def switch(self) -> None:
        """Let raw bytes take the place of requests.

        Raises:
            ExchangeStateError: There is something of the client that was sent as HTTP.
        """
        if self._delivering or self._events or self._stash or self._parser.in_head:
            raise ExchangeStateError(
                "upgrade() before the end of the request, or after the client sent more than that"
            )
        self._parser.switch()
        self._delivering = True

    def end_raw(self) -> bool:
        """Close this direction after an upgrade; False if that closes the connection."""
        if self._delivering and self._transport.can_write_eof():
            self._transport.write_eof()
            return True
        return False

    def exchange_done(self, exchange: HttpExchange, close: bool, reset_reason: str | None) -> None:
        """Go on after an exchange whose response is whole.

        Args:
            exchange: The exchange; nothing happens if it is over already.
            close: The client was told that the connection ends here.
            reset_reason: None, or why the response was not the handler's own.
        """
        if self.current is not exchange:
            return
        self.current = None
        self._held = False
        self._answered = True
        if reset_reason is not None:
            self._counters.resets += 1
        if close or not exchange.received or self.shared.draining:
            self._close(linger=not exchange.received)
        elif self._events or not self._reading:
            self._pump_soon()
        exchange.end(reset_reason)

    def cut(self, reason: str) -> None:
        """Reset the current exchange and close, so that the client sees a message broken off.

        What was sent before still goes out, except where the end of the connection would pass
        for the end of the body: only a TCP reset tells the truth then.
        """
        if self.current is not None and self.current.ends_by_close:
            self.abort(reason)
            return
        self._close(linger=False)
        self._reset_current(reason)

    # --- called by the listener -------------------------------------------------------------------

    def abort(self, reason: str) -> None:
        """Drop the connection at once, unsent bytes included."""
        if self.current is not None and self.current.ends_by_close:
            sock = self._transport.get_extra_info("socket")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
        self._forget()
        self._transport.abort()
        self._reset_current(reason)

    def close_if_idle(self) -> None:
        """Close unless a request is being received or answered."""
        if self.current is None and not (self._events or self._stash or self._parser.in_head):
            self._close(linger=False)

    def sweep(self, now: float) -> None:
        """Enforce the timeouts; called every `HttpLimits.sweep_interval` with the loop's time."""
        unsent = self._transport.get_write_buffer_size()
        phase = self._phase(unsent)
        received, self._seen = self.bytes_received != self._seen, self.bytes_received
        answered, self._answered = self._answered, False
        if not self._watch.overdue(
            now, phase, received=received, answered=answered, flushed=self.bytes_sent - unsent
        ):
            return
        if phase is Phase.IDLE:
            self._close(linger=False)
            return
        if phase is Phase.LINGER:
            self.abort("closed")
            return
        self._counters.timeouts += 1
        log.info("connection %d: %s timeout", self.id, phase.value)
        if phase is Phase.WRITE:
            self.abort("the client does not read the response")
        else:
            self._refuse(ProtocolError(408, f"the request {phase.value} did not arrive in time"))

    def _phase(self, unsent: int) -> Phase:
        if unsent:
            return Phase.WRITE
        if self._closing:
            return Phase.LINGER
        exchange = self.current
        if exchange is None:
            return Phase.HEADER if self._parser.in_head else Phase.IDLE
        waiting = exchange.raw_ended or not exchange.received
        if self._delivering and not self._held and waiting:
            return Phase.BODY
        return Phase.HANDLER

    # --- inner ------------------------------------------------------------------------------------

    def _pump(self) -> None:
        """Deliver events until there are none or something has to be waited for."""
        if self._pumping or self._closing:
            return
        self._pumping = True
        events = self._events
        try:
            while True:
                if self._delivering:
                    if self._held:
                        break
                elif self.current is not None or self.write_paused:
                    break
                if events:
                    self._dispatch(events.popleft())
                elif self._stash:
                    self._parser.feed(self._stash.popleft())
                else:
                    break
        finally:
            self._pumping = False
        if (events or self._stash or self._held or not self._reading) and not self._closing:
            self._update_reading()

    def _pump_soon(self) -> None:
        if not self._pumping and not self._closing:
            asyncio.get_running_loop().call_soon(self._pump)

    def _open(self, exchange: HttpExchange) -> None:
        """Give a request to its handler."""
        self.current = exchange
        self._delivering = has_body = exchange.has_body
        self._counters.exchanges += 1
        try:
            exchange.handler = handler = self._factory(exchange)
            exchange.state = OPEN
            handler.on_request_headers(not has_body)
            if exchange.expect_continue:
                exchange.send_continue()
        except Exception:
            self._handler_failed()

    def _dispatch(self, event: Event) -> None:
        if isinstance(event, HttpExchange):
            self._open(event)
            return
        try:
            exchange = self.current
            receiver = None if exchange is None else exchange.handler
            if exchange is not None and exchange.upgraded:
                data = event if isinstance(event, bytes) else b""
                self._delivering = bool(data)
                exchange.receive_raw(data, not data)
            elif isinstance(event, bytes):
                if receiver is not None:
                    receiver.on_request_data(event, False)
            elif isinstance(event, list):
                self._delivering = False
                if receiver is None:
                    pass
                elif event:
                    receiver.on_request_trailers(event)
                else:
                    receiver.on_request_data(b"", True)
            elif isinstance(event, ProtocolError):
                self._counters.protocol_errors += 1
                self._refuse(event)
        except Exception:
            self._handler_failed()

    def _refuse(self, error: ProtocolError) -> None:
        """Answer a bad or slow request, if that is still possible, and close."""
        exchange = self.current
        if exchange is not None:
            exchange.fail(error.status, error.detail, error.detail, close=True)
            return
        self.write(error_response(error.status, error.detail, self.shared.default_lines))
        self._close(linger=True)

    def _handler_failed(self) -> None:
        exchange = self.current
        if exchange is None:
            log.exception("a handler failed after the end of its exchange")
            return
        log.exception("the handler of %r %r failed", exchange.method, exchange.target)
        exchange.fail(500, "internal error", "the handler failed", close=False)

    def _reset_current(self, reason: str) -> None:
        exchange, self.current = self.current, None
        if exchange is not None:
            self._counters.resets += 1
            exchange.end(reason)

    def _forget(self) -> None:
        self._closing = True
        self._held = self._delivering = False
        self._stash.clear()
        self._parser.close()

    def _close(self, linger: bool) -> None:
        """Close once everything is sent.

        Args:
            linger: The client may still be sending. A plain close would answer that with a TCP
                reset, which can overtake the response; so discard it for a while instead.
        """
        self._forget()
        if not linger:
            self._transport.close()
            return
        self._update_reading()
        if self._transport.can_write_eof():
            self._transport.write_eof()

    def _update_reading(self) -> None:
        # Requests beyond the present one are read ahead only so far; a client that goes away
        # meanwhile would be noticed late if they were not read at all.
        reading = not (
            self._held or self._stash or len(self._events) > self.shared.limits.max_pipelined
        )
        if reading is not self._reading:
            self._reading = reading
            if reading:
                self._transport.resume_reading()
            else:
                self._transport.pause_reading()


def _address(name: Any) -> tuple[str, int] | None:
    return (name[0], name[1]) if isinstance(name, tuple) else None
