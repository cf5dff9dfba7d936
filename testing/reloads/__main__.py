"""`python -m anywasm.testing.reloads`: reloads under load, and what they lost.

It starts a server of its own on this machine, keeps wrk asking a filter and a function, and
meanwhile changes them in every way that there is: a new file, a new configuration and a new module
through the management API, a newer module at a URL, and plugins that come and go. The exit status
says whether all requests were answered 200, and guests and memory are what they were.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from anywasm.testing.reloads import ReloadError, report, run


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m anywasm.testing.reloads",
        description="Reload plugins under load, and see whether a request or memory is lost.",
    )
    parser.add_argument("--reloads", type=int, default=1000, help="how many changes (1000)")
    parser.add_argument("--engine", default="wasmtime", help="the engine (wasmtime)")
    parser.add_argument("--connections", type=int, default=8, help="of each of two wrk (8)")
    parser.add_argument("--workers", type=int, default=1, help="how many processes serve (1)")
    options = parser.parse_args(arguments)
    try:
        outcome = run(options.reloads, options.engine, options.connections, options.workers)
    except ReloadError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    sys.stdout.write(f"{report(outcome)}\n\n{'good' if outcome.good else 'NOT GOOD'}\n")
    return 0 if outcome.good else 1


if __name__ == "__main__":
    sys.exit(main())
