"""HTTP requests as fast as a server answers them, and what that costs it."""

from __future__ import annotations

import http.client
import os
import re
import shutil
import statistics
import subprocess
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from anywasm.core.errors import AnyWasmError

CONNECTIONS = 8
#: Seconds; Envoy compiles large modules before it listens.
_FIRST_ANSWER = 120.0
_UNITS = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0}


class LoadError(AnyWasmError):
    """The server did not answer, or not all requests well."""


@dataclass(frozen=True, slots=True)
class Load:
    """What came of it; times in seconds.

    Attributes:
        requests_per_second: How many were answered.
        median: How long the half of them took at most.
        p99: How long 99 of 100 took at most.
        cpu: Processor time of the server for one request; None where /proc has no word of it.
    """

    requests_per_second: float
    median: float
    p99: float
    cpu: float | None


def first_answer(port: int, began: float, headers: Mapping[str, str]) -> float:
    """Seconds since `began` until the server answers with 200.

    Raises:
        LoadError: When it does not, for two minutes.
    """
    last: object = "nothing"
    while time.perf_counter() - began < _FIRST_ANSWER:
        try:
            last = _ask(http.client.HTTPConnection("127.0.0.1", port, timeout=5), headers)
            if last == 200:
                return time.perf_counter() - began
        except (OSError, http.client.HTTPException) as error:
            last = error
        time.sleep(0.005)
    raise LoadError(f"the server does not answer 200; the last answer was {last}")


def _ask(connection: http.client.HTTPConnection, headers: Mapping[str, str]) -> int:
    try:
        connection.request("GET", "/?name=book1", headers=dict(headers))
        with connection.getresponse() as response:
            response.read()
            return response.status
    finally:
        connection.close()


def load(port: int, pid: int, seconds: float, headers: Mapping[str, str]) -> Load:
    """Send requests on `CONNECTIONS` connections with wrk, or on one from Python without it.

    Raises:
        LoadError: When an answer is not 2xx, or none came.
    """
    wrk = shutil.which("wrk")
    send = _from_python if wrk is None else _with_wrk
    _from_python(port, min(1.0, seconds / 4), headers)  # warm up
    before = _cpu(pid)
    began = time.perf_counter()
    rate, median, p99 = send(port, seconds, headers)
    requests = rate * (time.perf_counter() - began)
    after = _cpu(pid)
    cpu = None if before is None or after is None else (after - before) / requests
    return Load(rate, median, p99, cpu)


def tool() -> str:
    """What sends the requests."""
    return f"wrk, {CONNECTIONS} connections" if shutil.which("wrk") else "Python, 1 connection"


def _with_wrk(port: int, seconds: float, headers: Mapping[str, str]) -> tuple[float, float, float]:
    command = ["wrk", "-t1", f"-c{CONNECTIONS}", f"-d{max(1, round(seconds))}s", "--latency"]
    for name, value in headers.items():
        command += ["-H", f"{name}: {value}"]
    command.append(f"http://127.0.0.1:{port}/?name=book1")
    text = subprocess.run(command, capture_output=True, text=True, check=False).stdout
    rate = re.search(r"Requests/sec:\s+([\d.]+)", text)
    shares = dict(re.findall(r"(50|99)%\s+([\d.]+[a-z]+)", text))
    if rate is None or not float(rate[1]) or len(shares) < 2 or "Non-2xx" in text:
        raise LoadError(f"not all requests were answered well:\n{text}")
    return float(rate[1]), _seconds(shares["50"]), _seconds(shares["99"])


def _seconds(text: str) -> float:
    unit = text.lstrip("0123456789.")
    return float(text.removesuffix(unit)) * _UNITS[unit]


def _from_python(
    port: int, seconds: float, headers: Mapping[str, str]
) -> tuple[float, float, float]:
    times: list[float] = []
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    end = time.perf_counter() + seconds
    try:
        while (began := time.perf_counter()) < end:
            connection.request("GET", "/?name=book1", headers=dict(headers))
            # Closed here: out of its finalizer no exception comes, Ctrl-C's neither.
            with connection.getresponse() as response:
                response.read()
            if response.status != 200:
                raise LoadError(f"a request was answered {response.status}")
            times.append(time.perf_counter() - began)
    finally:
        connection.close()
    hundredths = statistics.quantiles(times, n=100, method="inclusive")
    return len(times) / seconds, statistics.median(times), hundredths[98]


def _cpu(pid: int) -> float | None:
    """Seconds of processor time that a process has used, user and system."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def peak_memory(pid: int) -> float | None:
    """The most bytes that a process has had in RAM; None where /proc has no word of it."""
    return _memory(pid, "VmHWM")


def resident_memory(pid: int) -> float | None:
    """The bytes that a process has in RAM now; None where /proc has no word of it."""
    return _memory(pid, "VmRSS")


def shared_memory(pid: int) -> float | None:
    """Bytes in RAM of a process and its children, with what they share counted once.

    None where /proc has no word of it.
    """
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        texts = [Path(f"/proc/{one}/smaps_rollup").read_text() for one in (pid, *children)]
    except OSError:
        return None
    found = [re.search(r"^Pss:\s+(\d+) kB", text, re.MULTILINE) for text in texts]
    return sum(int(share[1]) for share in found if share) * 1024.0


def _memory(pid: int, what: str) -> float | None:
    try:
        text = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return None
    found = re.search(rf"{what}:\s+(\d+) kB", text)
    return int(found[1]) * 1024.0 if found else None
