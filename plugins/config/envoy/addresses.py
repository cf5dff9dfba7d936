"""`envoy.config.core.v3.Address`."""

from __future__ import annotations

from anywasm.plugins.config.block import Block


def address_of(block: Block) -> str:
    """`host:port` or `unix:/path`; empty, with a problem, where there is neither."""
    socket, pipe = block.block("socket_address"), block.block("pipe")
    block.close()
    if "path" in pipe:
        path = pipe.text("path")
        pipe.ignore("mode")
        pipe.close()
        return f"unix:{path}"
    host, port = socket.text("address"), socket.number("port_value")
    protocol = socket.choice("protocol")
    socket.ignore("resolver_name", "ipv4_compat")
    socket.close()
    if protocol not in ("", "TCP"):
        socket.problem("protocol", "only TCP is served")
    if not host or port is None:
        block.translation.problem(block.path, "needs socket_address with address and port_value")
        return ""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
