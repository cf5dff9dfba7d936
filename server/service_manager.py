"""Tells systemd how the service is (`sd_notify`)."""

from __future__ import annotations

import os
import socket
import time


def tell_manager(state: str) -> None:
    """Send a state to whoever started this process and wants to know (`Type=notify-reload`).

    Args:
        state: `READY=1`, `RELOADING=1` or `STOPPING=1`.
    """
    place = os.environ.get("NOTIFY_SOCKET")
    if not place:
        return
    if state.startswith("RELOADING"):
        # systemd wants to know that this is later than its signal.
        state += f"\nMONOTONIC_USEC={time.monotonic_ns() // 1000}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
        sender.connect("\0" + place[1:] if place.startswith("@") else place)
        sender.send(state.encode())
