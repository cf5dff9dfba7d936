"""What a caller of the upstream pool can do wrong."""

from __future__ import annotations

from anywasm.core.errors import AnyWasmError


class InvalidRequestError(AnyWasmError, ValueError):
    """The request cannot be put on the wire: a bad method, target, header or length.

    Nothing was sent, and no stream exists.
    """


class StreamStateError(AnyWasmError, RuntimeError):
    """A method of a stream was called out of order, such as data after the end of the request."""
