"""Requests that are sent all the time."""

from __future__ import annotations

import contextlib
import re
import shutil
import signal
import subprocess
from collections.abc import Iterator

from anywasm.testing.reloads.outcome import Outcome, ReloadError


@contextlib.contextmanager
def load(port: int, connections: int, outcome: Outcome, *headers: str) -> Iterator[None]:
    """Keep wrk asking, and add up what it counted."""
    wrk = shutil.which("wrk")
    if wrk is None:
        raise ReloadError("wrk is missing: apt-get install wrk")
    given = [part for header in headers for part in ("-H", header)]
    process = subprocess.Popen(
        [wrk, "-t1", f"-c{connections}", "-d24h", *given, f"http://127.0.0.1:{port}/?name=book1"],
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        yield
    finally:
        process.send_signal(signal.SIGINT)
        text, _ = process.communicate()
    answered = re.search(r"(\d+) requests in", text)
    outcome.requests += int(answered[1]) if answered else 0
    bad = re.search(r"Non-2xx or 3xx responses: (\d+)", text)
    errors = re.search(r"connect (\d+), read (\d+), write (\d+), timeout (\d+)", text)
    outcome.failed += int(bad[1]) if bad else 0
    outcome.failed += sum(map(int, errors.groups())) if errors else 0
    outcome.complaints += re.findall(r"^ *((?:Non-2xx|Socket errors).*)$", text, re.M)
    if answered is None or not int(answered[1]):
        raise ReloadError(f"wrk counted no request:\n{text}")
