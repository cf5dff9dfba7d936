"""Changes plugins in every way that there is, under load."""

from __future__ import annotations

import contextlib
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from anywasm.testing.reloads.host import PATIENCE, Host
from anywasm.testing.reloads.load import load
from anywasm.testing.reloads.modules import Modules
from anywasm.testing.reloads.outcome import Outcome, ReloadError


def run(reloads: int, engine: str, connections: int = 8, workers: int = 1) -> Outcome:
    """Make `reloads` changes under load.

    Args:
        reloads: How many.
        engine: The plugins' engine.
        connections: Of each of two clients.
        workers: How many processes serve; each change is done when all of them serve it.

    Raises:
        ReloadError: When the server or wrk does not run, or a change fails.
    """
    outcome = Outcome(workers=workers)
    filters, functions = Modules("add_header"), Modules("function_2")
    with (
        tempfile.TemporaryDirectory(prefix="anywasm-reloads-") as name,
        contextlib.ExitStack() as s,
    ):
        host = Host(Path(name), engine, workers, filters, functions)
        s.callback(host.close)
        _until(lambda: _serves(host), "the start of the server")
        changes = _changes(host, engine, filters, functions)
        before = host.guests()
        with (
            load(host.ports[0], connections, outcome),
            load(host.ports[1], connections, outcome, "id: id_2"),
        ):
            for number in range(reloads):
                kind, change = changes[number % len(changes)]
                began = time.perf_counter()
                change(number)
                outcome.seconds.append(time.perf_counter() - began)
                outcome.reloads[kind] = outcome.reloads.get(kind, 0) + 1
                if number % max(1, reloads // 20) == 0:
                    outcome.rss.append(host.rss())
                    _progress(number, reloads, outcome)
        # What was replaced last still drains when the last change is done.
        with contextlib.suppress(ReloadError):
            _until(lambda: host.guests() == before, "the end of all drains")
        outcome.guests = before, host.guests()
        outcome.rss.append(host.rss())
    return outcome


def _serves(host: Host) -> bool:
    if host.process.poll() is not None:
        raise ReloadError(f"the server ended with {host.process.returncode}")
    with contextlib.suppress(OSError):
        return bool(host.versions())
    return False


def _changes(
    host: Host, engine: str, filters: Modules, functions: Modules
) -> list[tuple[str, Callable[[int], None]]]:
    def served(name: str, change: Callable[[], object]) -> None:
        before = host.versions()[name]
        change()

        def everywhere() -> bool:
            now = host.versions()[name]
            return len(now) == len(before) and all(new != old for new, old in zip(now, before))

        _until(everywhere, f"a new version of {name}")

    def file(_: int) -> None:
        served("file", lambda: filters.write(host.files["file"]))

    def url(_: int) -> None:
        served("url", filters.next)

    def configured(number: int) -> None:
        body = host.plugin("file", engine, plugin_config=str(number))
        served("file", lambda: host.ask("POST", "/wasm/update", body))

    def module(_: int) -> None:
        # In a place of its own, so that the watcher has no part in it.
        path = host.files["function"].with_name(f"function-{time.monotonic_ns()}.wasm")
        functions.write(path)
        before, host.files["function"] = host.files["function"], path
        body = host.plugin("function", engine)
        served("function", lambda: host.ask("POST", "/wasm/update", body))
        before.unlink()

    def comes_and_goes(number: int) -> None:
        host.ask("POST", "/wasm/install", host.plugin("other", engine))
        host.ask("POST", "/wasm/uninstall", {"name": "other"})

    return [
        ("configuration", configured),
        ("module", module),
        ("install and uninstall", comes_and_goes),
        ("url", url),
        ("configuration", configured),
        ("module", module),
        ("install and uninstall", comes_and_goes),
        ("file", file),
    ]


def _progress(number: int, reloads: int, outcome: Outcome) -> None:
    sys.stderr.write(f"{number:6} of {reloads}, {outcome.rss[-1] / 2**20:.0f} MiB\n")


def _until(condition: Callable[[], bool], what: str) -> None:
    end = time.monotonic() + PATIENCE
    while not condition():
        if time.monotonic() > end:
            raise ReloadError(f"{what} did not happen in {PATIENCE:.0f} s")
        time.sleep(0.01)
