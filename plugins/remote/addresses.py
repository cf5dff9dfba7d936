"""Where a name leads, and whether a server may send us there."""

from __future__ import annotations

import ipaddress
import socket

from anywasm.plugins.errors import PluginLoadError

IpAddress = ipaddress.IPv4Address | ipaddress.IPv6Address

#: IPv4 in IPv6 (RFC 6052).
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")


def resolve(host: str, port: int) -> list[str]:
    """The IP addresses of `host`, in the system's order, each once.

    Raises:
        PluginLoadError: When it has none.
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise PluginLoadError(f"{host} cannot be resolved: {reason}") from error
    return list(dict.fromkeys(str(address[0]).partition("%")[0] for *_, address in found))


def is_public(address: str) -> bool:
    """Whether it is a host of the Internet, and none of a private network or this machine."""
    ip = _embedded(ipaddress.ip_address(address))
    return ip.is_global and not ip.is_multicast


def _embedded(ip: IpAddress) -> IpAddress:
    """The IPv4 address that an IPv6 address leads to, where it does."""
    if isinstance(ip, ipaddress.IPv4Address):
        return ip
    if ip in _NAT64:
        return ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)
    return ip.ipv4_mapped or ip.sixtofour or ip
