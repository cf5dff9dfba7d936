"""Where a listener listens, or an upstream is reached."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, PlainValidator

_FORM = 'must be "host:port", "[ipv6]:port" or "unix:/absolute/path"'
_TCP = re.compile(r"(?:\[([0-9A-Fa-f:.]+)\]|([A-Za-z0-9._-]+)):([0-9]{1,5})", re.ASCII)
_NUMERIC = re.compile(r"[0-9.]+", re.ASCII)


@dataclass(frozen=True, slots=True)
class Address:
    """A TCP address or the path of a Unix socket.

    Attributes:
        host: Name or IP address without brackets; empty for a Unix socket.
        port: TCP port; 0 lets the system choose one.
        path: The Unix socket, or None.
    """

    host: str = ""
    port: int = 0
    path: Path | None = None

    @property
    def local(self) -> bool:
        """Whether only this machine can reach it."""
        if self.path is not None or self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False

    def __str__(self) -> str:
        if self.path is not None:
            return f"unix:{self.path}"
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"


def parse_address(value: object) -> Address:
    """Read `host:port`, `[::1]:port` or `unix:/path`.

    Raises:
        ValueError: When it is none of these.
    """
    if isinstance(value, Address):
        return value
    if not isinstance(value, str):
        raise ValueError(_FORM)
    if value.startswith("unix:"):
        path = Path(value.removeprefix("unix:"))
        if not path.is_absolute() or "\0" in value:
            raise ValueError(_FORM)
        return Address(path=path)
    match = _TCP.fullmatch(value)
    if match is None:
        raise ValueError(_FORM)
    v6, name, port = match.groups()
    if v6 is not None or _NUMERIC.fullmatch(name):
        try:
            ipaddress.IPv4Address(name) if v6 is None else ipaddress.IPv6Address(v6)
        except ValueError:
            raise ValueError(f"{v6 or name} is no IP address") from None
    if int(port) > 65535:
        raise ValueError("port must be at most 65535")
    return Address(v6 or name, int(port))


#: An `Address` field, written as text.
ListenAddress = Annotated[Address, PlainValidator(parse_address, json_schema_input_type=str)]


def _reachable(address: Address) -> Address:
    if address.path is None and address.port == 0:
        raise ValueError("port must not be 0: nothing can be reached there")
    return address


#: The same for what others listen at: port 0 is refused.
EndpointAddress = Annotated[ListenAddress, AfterValidator(_reachable)]
