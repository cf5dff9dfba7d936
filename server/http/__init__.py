"""The downstream HTTP/1.1 data plane: an asyncio protocol over llhttp, without a task a request."""

from __future__ import annotations

from anywasm.server.http.buffered import BufferedHandler, WholeRequestCall, buffered
from anywasm.server.http.counters import Counters
from anywasm.server.http.errors import ExchangeStateError, InvalidResponseError, ProtocolError
from anywasm.server.http.exchange import HttpExchange
from anywasm.server.http.handler import HandlerFactory, RequestHandler, UpgradedData
from anywasm.server.http.limits import HttpLimits
from anywasm.server.http.listener import Listener
from anywasm.server.http.request import Header, Headers

__all__ = [
    "BufferedHandler",
    "Counters",
    "ExchangeStateError",
    "HandlerFactory",
    "Header",
    "Headers",
    "HttpExchange",
    "HttpLimits",
    "InvalidResponseError",
    "Listener",
    "ProtocolError",
    "RequestHandler",
    "UpgradedData",
    "WholeRequestCall",
    "buffered",
]
