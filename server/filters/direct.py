"""Direct responses that no filter and no log wants to see: known before they are asked for."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from anywasm.server.filters.local_reply import LocalReply
from anywasm.server.http import Headers, InvalidResponseError
from anywasm.server.http.codec import wire_fields
from anywasm.server.http.head import LENGTH, encode_head
from anywasm.server.http.request import Request

if TYPE_CHECKING:
    from anywasm.server.filters.listener import FilterListener
    from anywasm.server.http.state import ListenerState

_monotonic: Final = time.monotonic
#: What all of them answer: a GET on a connection that stays open.
_REQUEST: Final = Request(b"GET", b"/", "1.1", [], True, None, False, False)


class DirectAnswers:
    """Answers without a chain, to the byte as the chain would. See `AnswersAtOnce`.

    Args:
        listener: Has the routes; without filters and access log.
        shared: Has the default headers.
    """

    __slots__ = ("_answers", "_lines", "_shared", "_table", "_times")

    def __init__(self, listener: FilterListener, shared: ListenerState) -> None:
        self._table = listener.table
        self._times = listener.times
        self._shared = shared
        self._answers: dict[LocalReply, bytes] = {}
        self._lines = b""

    def __call__(self, target: bytes, headers: Headers) -> bytes | None:
        """The whole response, or None where the chain has to find it."""
        began = _monotonic()
        route = self._table.match(target)
        direct = None if route is None else route.direct
        if direct is None:
            return None
        for name, _ in headers:
            if name == b"content-type":
                return None  # it may be gRPC, which is answered otherwise
        shared = self._shared
        if self._lines is not shared.default_lines:
            self._lines = shared.default_lines
            self._answers.clear()
        answer = self._answers.get(direct)
        if answer is None:
            answer = self._answers[direct] = self._encode(direct)
        if answer:
            self._times.count(direct.status, _monotonic() - began)
        return answer or None

    def _encode(self, direct: LocalReply) -> bytes:
        """The response; nothing where it is not as simple as that."""
        if direct.status < 200 or not direct.body:
            return b""
        _, headers, body = direct.render(None)
        fields = wire_fields(headers.pairs, False)[0]
        try:
            head, framing, _, _ = encode_head(
                _REQUEST, direct.status, fields, len(body), self._shared
            )
        except InvalidResponseError:
            return b""  # the chain knows what to say
        return head + body if framing == LENGTH else head
