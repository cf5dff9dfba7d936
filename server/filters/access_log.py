"""The access log, with Envoy's command operators."""

from __future__ import annotations

import logging
import re
import sys
import time
from collections.abc import Callable
from datetime import datetime, timezone
from typing import IO, TYPE_CHECKING

from anywasm.core.errors import ConfigError

if TYPE_CHECKING:
    from anywasm.abi.headers import HeaderMap
    from anywasm.server.filters.chain import FilterChain

_log = logging.getLogger("anywasm.server")

_OPERATOR = re.compile(r"%([A-Z_0-9]+)(?:\(([^)]*)\))?(?::(\d+))?%")

_QUOTING = frozenset('"\\')

Field = Callable[["FilterChain"], "str | None"]


class AccessLog:
    """Writes a line for each request. Used on the event loop.

    Args:
        path: A file that is appended to, or `-` for the standard output.
        format: Text with operators such as `%RESPONSE_CODE%` or `%REQ(:PATH)%`.

    Raises:
        ConfigError: For an operator that does not exist, or a file that cannot be opened.
    """

    def __init__(self, path: str, format: str) -> None:
        self._parts = _compile(format)
        self._stream: IO[str]
        if path == "-":
            self._stream = sys.stdout
        else:
            try:
                self._stream = open(path, "a", buffering=1, encoding="utf-8")  # noqa: SIM115
            except OSError as error:
                raise ConfigError(f"access log {path}: {error.strerror}") from error

    def write(self, chain: FilterChain) -> None:
        """Write the line of a stream that is over."""
        line = "".join(
            part if isinstance(part, str) else _clean(part(chain)) for part in self._parts
        )
        try:
            self._stream.write(line)
            if self._stream is sys.stdout:
                self._stream.flush()
        except (OSError, ValueError) as error:
            _log.warning("the access log cannot be written: %s", error)

    def close(self) -> None:
        """Close the file."""
        if self._stream is not sys.stdout:
            self._stream.close()


def _clean(value: str | None) -> str:
    """A value that cannot break the line, or the quotes, that it is in."""
    if not value:
        return "-"
    if value.isprintable() and not _QUOTING.intersection(value):
        return value
    return "".join(
        c if c.isprintable() and c not in _QUOTING else f"\\x{ord(c):02x}" for c in value
    )


def _compile(format: str) -> list[str | Field]:
    parts: list[str | Field] = []
    end = 0
    for match in _OPERATOR.finditer(format):
        parts.append(format[end : match.start()])
        name, argument, most = match.groups()
        parts.append(_limited(_field(name, argument, match.group()), most))
        end = match.end()
    parts.append(format[end:])
    return [part for part in parts if part != ""]


def _limited(field: Field, most: str | None) -> Field:
    if most is None:
        return field
    length = int(most)

    def cut(chain: FilterChain) -> str | None:
        value = field(chain)
        return None if value is None else value[:length]

    return cut


def _field(name: str, argument: str | None, text: str) -> Field:
    if name in _HEADERS and argument:
        return _header(_HEADERS[name], argument)
    if name == "START_TIME":
        return _start_time(argument)
    if name not in _FIELDS or argument:
        known = ", ".join(sorted({*_FIELDS, *_HEADERS, "START_TIME"}))
        raise ConfigError(f"access log format: unknown operator {text}; known: {known}")
    return _FIELDS[name]


def _header(headers: Callable[[FilterChain], HeaderMap | None], argument: str) -> Field:
    """`X?Y`: the header X, or else Y."""
    names = [name.strip().lower().encode() for name in argument.split("?")]

    def field(chain: FilterChain) -> str | None:
        found = headers(chain)
        if found is not None:
            for name in names:
                value = found.get(name)
                if value is not None:
                    return value.decode("latin-1")
        return None

    return field


def _start_time(format: str | None) -> Field:
    def field(chain: FilterChain) -> str:
        moment = datetime.fromtimestamp(chain.info.start_time / 1e9, timezone.utc)
        if format:
            return time.strftime(format, moment.timetuple())
        return moment.strftime("%Y-%m-%dT%H:%M:%S.") + f"{moment.microsecond // 1000:03d}Z"

    return field


def _address(endpoint: tuple[str, int] | None) -> str | None:
    return None if endpoint is None else f"{endpoint[0]}:{endpoint[1]}"


_HEADERS: dict[str, Callable[[FilterChain], HeaderMap | None]] = {
    "REQ": lambda chain: chain.request,
    "RESP": lambda chain: chain.response,
    "TRAILER": lambda chain: chain.response_trailers,
}

_FIELDS: dict[str, Field] = {
    "PROTOCOL": lambda chain: chain.info.protocol,
    "RESPONSE_CODE": lambda chain: str(chain.info.response_code or 0),
    "RESPONSE_CODE_DETAILS": lambda chain: chain.info.response_code_details,
    "RESPONSE_FLAGS": lambda chain: chain.flags or None,
    "BYTES_RECEIVED": lambda chain: str(chain.info.request_size),
    "BYTES_SENT": lambda chain: str(chain.info.response_size),
    "DURATION": lambda chain: str((chain.info.duration or 0) // 1_000_000),
    "UPSTREAM_HOST": lambda chain: _address(chain.info.upstream),
    "UPSTREAM_LOCAL_ADDRESS": lambda chain: _address(chain.info.upstream_local),
    "UPSTREAM_CLUSTER": lambda chain: chain.info.cluster_name,
    "ROUTE_NAME": lambda chain: chain.info.route_name,
    "DOWNSTREAM_REMOTE_ADDRESS": lambda chain: _address(chain.info.source),
    "DOWNSTREAM_LOCAL_ADDRESS": lambda chain: _address(chain.info.destination),
    "CONNECTION_ID": lambda chain: str(chain.info.connection_id),
    #: Ours: the filter that answered or failed.
    "PLUGIN": lambda chain: chain.plugin,
}
