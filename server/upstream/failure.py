"""Why a response did not complete."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Final


class FailureReason(Enum):
    """Envoy's stream reset reasons, as far as an HTTP/1.1 upstream has them.

    The values are Envoy's words (`Http::Utility::resetReasonToString`), which it puts into the
    body of its answer; `flags` is what its access log shows as `%RESPONSE_FLAGS%`.
    """

    #: No connection could be made: refused, unreachable, unknown host, TLS not accepted.
    CONNECTION_FAILURE = "remote connection failure"
    #: The connection was not up in `Cluster.connect_timeout`.
    CONNECTION_TIMEOUT = "connection timeout"
    #: The upstream closed the connection before the end of its response.
    CONNECTION_TERMINATION = "connection termination"
    #: `Cluster.max_pending` requests are waiting already.
    OVERFLOW = "overflow"
    #: The upstream's bytes are no acceptable HTTP/1.1 response.
    PROTOCOL_ERROR = "protocol error"
    #: This side gave up: the caller's reset, a failing handler, a body of the wrong length.
    LOCAL_RESET = "local reset"

    @property
    def flags(self) -> str:
        """Envoy's response flag."""
        return _FLAGS[self]


_FLAGS: Final = {
    FailureReason.CONNECTION_FAILURE: "UF",
    FailureReason.CONNECTION_TIMEOUT: "UF",
    FailureReason.CONNECTION_TERMINATION: "UC",
    FailureReason.OVERFLOW: "UO",
    FailureReason.PROTOCOL_ERROR: "UPE",
    FailureReason.LOCAL_RESET: "LR",
}


@dataclass(frozen=True)
class UpstreamFailure:
    """What a handler is told instead of the end of a response.

    Attributes:
        reason: The kind of failure.
        detail: What exactly happened, for the log; the client is not told.
    """

    reason: FailureReason
    detail: str

    @property
    def text(self) -> str:
        """The body of the answer that Envoy would give, if no response head was seen."""
        return (
            "upstream connect error or disconnect/reset before headers. "
            f"reset reason: {self.reason.value}"
        )

    @property
    def status(self) -> int:
        """The status of that answer: 502 for a protocol error, else 503, as Envoy's router."""
        return 502 if self.reason is FailureReason.PROTOCOL_ERROR else 503

    @property
    def flags(self) -> str:
        """Envoy's response flag for the access log."""
        return self.reason.flags
