"""The recorded cases, the engines, and the third-party modules when a registry has them."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from anywasm.core.registry import engine_statuses
from anywasm.testing.golden.modules import PACKAGE, RELEASES

DATA = Path(__file__).parents[1] / "data" / "golden"
#: Kept from run to run, since a release is 20 MB.
CACHE = Path.home() / ".cache" / "anywasm-tests" / "wheels"


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "engine" in metafunc.fixturenames:
        statuses = [status for status in engine_statuses() if status.vm is not None]
        names = [s.name for s in statuses if s.vm and s.vm.capabilities.wasm]
        metafunc.parametrize("engine", names)


def _fetch(release: str, folder: Path) -> None:
    folder.parent.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary"]
    command += [":all:", "--dest", str(folder.parent), f"{PACKAGE}=={release}"]
    try:
        subprocess.run(command, check=True, capture_output=True, text=True, timeout=100)
    except subprocess.CalledProcessError as error:
        reason = error.stderr.strip().rpartition("\n")[2]
        pytest.skip(f"{PACKAGE} {release} cannot be downloaded: {reason}")
    except subprocess.TimeoutExpired:
        pytest.skip(f"{PACKAGE} {release} cannot be downloaded: no answer in time")
    (wheel,) = folder.parent.glob(f"*-{release}-*.whl")
    # Under its final name only when it is whole: runs share this folder.
    partial = folder.with_suffix(".partial")
    zipfile.ZipFile(wheel).extractall(partial)
    partial.rename(folder)
    wheel.unlink()


@pytest.fixture(scope="session")
def wheels() -> Path:
    """A folder with the unpacked wheels; skips when they are nowhere."""
    for release in RELEASES:
        folder = CACHE / release
        if not folder.is_dir():
            _fetch(release, folder)
    return CACHE
