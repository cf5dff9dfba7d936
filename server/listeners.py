"""Listeners, of their configuration."""

from __future__ import annotations

import contextlib
import os
import socket
import ssl
from collections.abc import Sequence
from pathlib import Path

from anywasm.core.errors import ConfigError
from anywasm.plugins.config import LimitsConfig, ListenerConfig
from anywasm.plugins.config.listener import ListenerTlsConfig
from anywasm.server.http import HandlerFactory, HttpLimits, Listener

_BACKLOG = 1024


async def listen(
    config: ListenerConfig, factory: HandlerFactory, sockets: Sequence[socket.socket] = ()
) -> Listener:
    """Open a listener whose exchanges `factory` handles.

    Args:
        config: What it is.
        factory: Makes the handler of each exchange.
        sockets: What to accept from, where it listens already (see `bind`).

    Raises:
        ConfigError: When its address cannot be bound, or its certificate cannot be used.
    """
    address = config.address
    listener = Listener(
        factory,
        None if sockets or address.path is not None else address.host,
        address.port,
        _http_limits(config.limits),
        path=None if sockets or address.path is None else str(address.path),
        sockets=sockets,
        ssl=None if config.tls is None else make_tls_context(config.name, config.tls),
    )
    try:
        await listener.start()
    except (OSError, UnicodeError) as error:
        raise _unbound(config, error) from error
    return listener


def bind(config: ListenerConfig) -> tuple[socket.socket, ...]:
    """Listen on a listener's address without accepting, for other processes to do so.

    Connections wait in the sockets' backlog, as long as any process has them open. Whoever closes
    them removes the Unix socket's file, too.

    Raises:
        ConfigError: When the address cannot be bound.
    """
    with contextlib.ExitStack() as stack:
        try:
            bound = tuple(
                stack.enter_context(_bind(family, place)) for family, place in _places(config)
            )
        except (OSError, UnicodeError) as error:
            raise _unbound(config, error) from error
        stack.pop_all()
    return bound


def _places(config: ListenerConfig) -> list[tuple[int, str | tuple[object, ...]]]:
    address = config.address
    if address.path is not None:
        remove_socket(address.path)
        return [(socket.AF_UNIX, str(address.path))]
    found = socket.getaddrinfo(
        address.host, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )
    return list(dict.fromkeys((family, place) for family, _, _, _, place in found))


def _bind(family: int, place: str | tuple[object, ...]) -> socket.socket:
    listening = socket.socket(family)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            listening.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        listening.bind(place)
        listening.listen(_BACKLOG)
        listening.setblocking(False)
    except BaseException:
        listening.close()
        raise
    return listening


def remove_socket(path: Path) -> None:
    """Remove the file of a Unix socket, and nothing that is no socket."""
    if path.is_socket():
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)


def _unbound(config: ListenerConfig, error: Exception) -> ConfigError:
    reason = getattr(error, "strerror", None) or error
    return ConfigError(f"listener {config.name!r} cannot listen on {config.address}: {reason}")


def _http_limits(limits: LimitsConfig) -> HttpLimits:
    return HttpLimits(
        max_header_bytes=limits.max_header_bytes,
        max_headers=limits.max_headers,
        max_target_bytes=limits.max_target_bytes,
        max_body_bytes=limits.max_body_bytes,
        idle_timeout=limits.idle_timeout,
        header_timeout=limits.header_timeout,
        body_timeout=limits.body_timeout,
        write_timeout=limits.write_timeout,
    )


def make_tls_context(name: str, config: ListenerTlsConfig) -> ssl.SSLContext:
    """How the listener `name` speaks TLS.

    Raises:
        ConfigError: When its certificate, or that of its clients' authority, cannot be used.
    """
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    try:
        context.load_cert_chain(config.cert_file, config.key_file)
        if config.client_ca_file is not None:
            context.load_verify_locations(config.client_ca_file)
            context.verify_mode = ssl.CERT_REQUIRED
    except (OSError, ssl.SSLError) as error:
        raise ConfigError(f"listener {name!r}: the certificate cannot be used: {error}") from error
    context.set_alpn_protocols(["http/1.1"])
    return context
