"""What can go wrong with an HTTP message, on either side of the codec."""

from __future__ import annotations

from anywasm.core.errors import AnyWasmError


class InvalidResponseError(AnyWasmError, ValueError):
    """The caller's response cannot be put on the wire: a bad header, status or length.

    Nothing was sent; the exchange is as it was, so that the caller can answer something else.
    """


class ExchangeStateError(AnyWasmError, RuntimeError):
    """A response method was called out of order, such as a second `respond`."""


class ProtocolError(AnyWasmError):
    """The client's bytes are no acceptable HTTP/1.1 request.

    Attributes:
        status: The status to answer with, where an answer is still possible.
        detail: What was wrong, for the client and the log.
    """

    def __init__(self, status: int, detail: str) -> None:
        self.status = status
        self.detail = detail
        super().__init__(f"{status}: {detail}")
