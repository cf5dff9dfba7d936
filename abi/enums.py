"""The numbers of the proxy-wasm ABI (spec 0.2.1, "Types"), under the spec's names."""

from __future__ import annotations

from enum import IntEnum


class Status(IntEnum):
    """What a host function returns."""

    OK = 0
    NOT_FOUND = 1
    BAD_ARGUMENT = 2
    SERIALIZATION_FAILURE = 3
    PARSE_FAILURE = 4
    INVALID_MEMORY_ACCESS = 6
    EMPTY = 7
    CAS_MISMATCH = 8
    INTERNAL_FAILURE = 10
    BROKEN_CONNECTION = 11
    UNIMPLEMENTED = 12


class Action(IntEnum):
    """What a guest answers to a stream callback."""

    CONTINUE = 0
    PAUSE = 1


class BufferType(IntEnum):
    """Byte buffers that host functions name by number."""

    HTTP_REQUEST_BODY = 0
    HTTP_RESPONSE_BODY = 1
    DOWNSTREAM_DATA = 2
    UPSTREAM_DATA = 3
    HTTP_CALL_RESPONSE_BODY = 4
    GRPC_CALL_MESSAGE = 5
    VM_CONFIGURATION = 6
    PLUGIN_CONFIGURATION = 7
    #: The spec's foreign-function arguments; Layotto's guests write their id here ("call data").
    FOREIGN_FUNCTION_ARGUMENTS = 8
    #: Higress: the answer of a Redis call, as RESP.
    REDIS_CALL_RESPONSE = 9


class MapType(IntEnum):
    """Header maps that host functions name by number."""

    HTTP_REQUEST_HEADERS = 0
    HTTP_REQUEST_TRAILERS = 1
    HTTP_RESPONSE_HEADERS = 2
    HTTP_RESPONSE_TRAILERS = 3
    GRPC_CALL_INITIAL_METADATA = 4
    GRPC_CALL_TRAILING_METADATA = 5
    HTTP_CALL_RESPONSE_HEADERS = 6
    HTTP_CALL_RESPONSE_TRAILERS = 7


class LogLevel(IntEnum):
    """How severe a guest's log line is."""

    TRACE = 0
    DEBUG = 1
    INFO = 2
    WARN = 3
    ERROR = 4
    CRITICAL = 5


class StreamType(IntEnum):
    """The directions that can be continued or closed."""

    HTTP_REQUEST = 0
    HTTP_RESPONSE = 1
    DOWNSTREAM = 2
    UPSTREAM = 3


class MetricType(IntEnum):
    """What a metric measures."""

    COUNTER = 0
    GAUGE = 1
    HISTOGRAM = 2
