"""Answers that the host, or a filter, gives instead of an upstream."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import quote

from anywasm.abi.headers import HeaderMap
from anywasm.abi.pairs import Pair

# Compiled code looks the names of modules up each time, but not what is final.
_HeaderMap: Final = HeaderMap
#: HTTP status -> gRPC status (gRPC's "HTTP to gRPC Status Code Mapping").
_GRPC_STATUS: Final = {400: 13, 401: 16, 403: 7, 404: 12, 429: 14, 502: 14, 503: 14, 504: 14}
_GRPC_UNKNOWN: Final = 2
_GRPC_TYPE: Final = b"application/grpc"

#: Why a stream failed, in Envoy's words: its filter did.
FAILED: Final = "wasm_fail_stream"


@dataclass(frozen=True, slots=True, eq=False)
class LocalReply:
    """One such answer.

    Attributes:
        status: The HTTP status.
        body: The body.
        details: Why (property `response.code_details`).
        headers: Additional headers.
        grpc_status: The gRPC status for gRPC requests; by default derived from `status`.
    """

    status: int
    body: bytes = b""
    details: str = ""
    headers: Sequence[Pair] = ()
    grpc_status: int | None = None
    #: The headers for a request that is not gRPC; the same for all of them.
    _pairs: tuple[Pair, ...] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        headers = HeaderMap([(b":status", b"%d" % self.status), *self.headers])
        if self.body:
            length = b"%d" % len(self.body)
            if self.headers:
                headers.replace(b"content-length", length)
            else:
                headers.add(b"content-length", length)
            if headers.get(b"content-type") is None:
                headers.add(b"content-type", b"text/plain")
        object.__setattr__(self, "_pairs", tuple(headers.pairs))

    def render(self, request: HeaderMap | None) -> tuple[int, HeaderMap, bytes]:
        """Status, headers and body as they enter the response path, fit for the request.

        A gRPC request is answered as gRPC wants it: 200, with the status in the headers.
        """
        kind = request.get(b"content-type") if request is not None else None
        if kind is None or not (kind == _GRPC_TYPE or kind.startswith(b"application/grpc+")):
            return self.status, _HeaderMap(self._pairs), self.body
        headers = HeaderMap([(b":status", b"200"), *self.headers])
        code = self.grpc_status
        if code is None:
            code = _GRPC_STATUS.get(self.status, _GRPC_UNKNOWN)
        headers.replace(b"content-type", _GRPC_TYPE)
        headers.replace(b"grpc-status", b"%d" % code)
        if self.body:
            headers.replace(
                b"grpc-message",
                quote(self.body, safe=" !#$&'()*+,/:;=?@[]~\"<>\\^`{|}").encode(),
            )
        return 200, headers, b""
