"""The wheel holds what the repository holds, and works where nothing else of the project is."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import venv
import zipfile
from pathlib import Path

import pytest

import anywasm

BUILD_SDIST = "import sys; from setuptools import build_meta; build_meta.build_sdist(sys.argv[1])"

# Engines import their bindings, benchmarks and the compliance suite pytest, and __main__ runs.
IMPORT_ALL = """
import importlib, importlib.metadata, pkgutil
import anywasm

for module in pkgutil.walk_packages(anywasm.__path__, "anywasm."):
    if not module.name.startswith(
        ("anywasm.engines.", "anywasm.benchmarks.", "anywasm.testing.engines")
    ):
        if not module.name.endswith(".__main__"):
            importlib.import_module(module.name)
print(anywasm.__file__)
print(importlib.metadata.version("anywasm"))
"""


def run(*command: str | Path, cwd: Path, **environment: str) -> str:
    """Runs a command to its end; a failure shows what it printed."""
    env = os.environ | environment
    done = subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def build_wheel(source: Path, into: Path, **environment: str) -> Path:
    """Builds as pip does, with the setuptools that is installed: no network is needed."""
    options = ["--no-deps", "--no-build-isolation", "--no-index", "--disable-pip-version-check"]
    run(
        sys.executable,
        "-m",
        "pip",
        "wheel",
        *options,
        "-w",
        into,
        source,
        cwd=into.parent,
        **environment,
    )
    (wheel,) = into.glob("*.whl")
    return wheel


def contents(wheel: Path) -> set[str]:
    """The names of the files in a wheel, without the metadata that the wheel format adds."""
    with zipfile.ZipFile(wheel) as archive:
        return {name for name in archive.namelist() if ".dist-info/" not in name}


@pytest.fixture(scope="module")
def source(root: Path, tracked: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the tracked files, so that nothing that lies about gets into a build."""
    copy = tmp_path_factory.mktemp("build") / "source"
    for path in tracked:
        (copy / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(root / path, copy / path, follow_symlinks=False)
    return copy


@pytest.fixture(scope="module")
def sdist(source: Path) -> Path:
    into = source.parent / "sdist"
    run(sys.executable, "-c", BUILD_SDIST, into, cwd=source)
    (archive,) = into.glob("*.tar.gz")
    return archive


@pytest.fixture(scope="module")
def wheel(source: Path, sdist: Path) -> Path:
    # After the sdist, so that the sdist is made of a tree in which nothing was built.
    return build_wheel(source, source.parent / "wheel")


def test_the_wheel_holds_the_packaged_folders_and_nothing_else(
    wheel: Path, tracked: list[Path], packaged: list[str]
) -> None:
    """A file of a new kind fails here until package-data in pyproject.toml names it."""
    files = {f"anywasm/{path}" for path in tracked if path.parts[0] in packaged}
    face = [path.relative_to("src") for path in tracked if path.parts[:2] == ("src", "anywasm")]
    files |= {str(path) for path in face if path.name not in packaged}
    expected = {name for name in files if not name.endswith(".md")}
    compiled = sysconfig.get_config_var("EXT_SUFFIX")
    assert {name for name in contents(wheel) if not name.endswith(compiled)} == expected


def compiles() -> bool:
    """Whether C extensions can be built here."""
    command = [*shlex.split(os.environ.get("CC") or sysconfig.get_config_var("CC")), "-xc"]
    command += ["-fsyntax-only", f"-I{sysconfig.get_path('include')}", "-"]
    try:
        done = subprocess.run(
            command, input=b"#include <Python.h>", capture_output=True, check=False
        )
    except FileNotFoundError:
        return False
    return done.returncode == 0


@pytest.mark.skipif(not compiles(), reason="needs a C compiler and Python's headers")
def test_the_wheel_has_the_extensions(wheel: Path) -> None:
    compiled = sysconfig.get_config_var("EXT_SUFFIX")
    names = ("engines/_fastcall", "abi/_hostcall", "server/http/_head", "server/upstream/_head")
    expected = {f"anywasm/{name}{compiled}" for name in names}
    assert expected <= contents(wheel)


def test_without_a_compiler_only_the_extensions_are_missing(sdist: Path, wheel: Path) -> None:
    poor = build_wheel(sdist, sdist.parent.parent / "poor-wheel", CC="false")
    compiled = sysconfig.get_config_var("EXT_SUFFIX")
    assert contents(poor) == {name for name in contents(wheel) if not name.endswith(compiled)}


def test_the_sdist_builds_the_same_wheel(sdist: Path, wheel: Path) -> None:
    again = build_wheel(sdist, sdist.parent.parent / "wheel-of-sdist")
    assert contents(again) == contents(wheel)
    assert again.name == wheel.name


def test_the_sdist_holds_no_links(sdist: Path) -> None:
    """An sdist with links could not be unpacked everywhere."""
    with tarfile.open(sdist) as archive:
        assert [member.name for member in archive if member.issym() or member.islnk()] == []


def test_the_wheel_works_on_its_own(wheel: Path, tmp_path: Path) -> None:
    home = tmp_path / "venv"
    venv.create(home, with_pip=False)
    python = home / "bin" / "python"
    (site,) = home.glob("lib/python3.*/site-packages")
    # The dependencies come from the environment that runs the tests. Its own .pth files, one of
    # which leads to the repository, are not followed from here.
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    options = ["--no-deps", "--no-index", "--disable-pip-version-check"]
    run(sys.executable, "-m", "pip", "--python", python, "install", *options, wheel, cwd=tmp_path)
    where, version = run(python, "-c", IMPORT_ALL, cwd=tmp_path).splitlines()
    assert Path(where).is_relative_to(site)
    assert version == anywasm.__version__
