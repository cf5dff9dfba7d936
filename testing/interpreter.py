"""Python in a process of its own."""

from __future__ import annotations

import subprocess
import sys


def run_python(source: str, *args: str, check: bool = False) -> subprocess.CompletedProcess[str]:
    """Run a script in a new interpreter: a crash is a result, and nothing was imported before.

    Args:
        source: The script.
        args: What it finds in `sys.argv`, from the second element on.
        check: Whether another exit code than 0 is an error.

    Raises:
        subprocess.CalledProcessError: For such a code, when `check` is set.
        subprocess.TimeoutExpired: After a minute.
    """
    return subprocess.run(
        [sys.executable, "-c", source, *args],
        capture_output=True,
        text=True,
        timeout=60,
        check=check,
    )
