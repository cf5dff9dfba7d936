"""What pyproject.toml cannot say: with ANYWASM_COMPILED=1 the data plane is compiled with mypyc.

It is the same source, and several times as fast. It is left out by default, because building takes
minutes and mypy, and where people edit the source: Python would go on with what was compiled.
"""

from __future__ import annotations

import os
import sys
from glob import glob

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

#: Where a request passes in every server, without what mypyc does not compile as it is meant:
#: errors, Protocols that are asked for at run time, coroutines, and slots that others read.
FOLDERS = ("server/filters", "server/http", "server/upstream")
MODULES = (
    "server/stream_times",
    "plugins/filter_pool",
    "plugins/slot",
    "abi/buffer",
    "abi/stream_info",
)
LEFT_OUT = frozenset(
    {
        "server/http/acceptor",
        "server/http/errors",
        "server/http/handler",
        "server/http/listener",
        "server/http/state",
        "server/upstream/attempt",
        "server/upstream/counters",
        "server/upstream/errors",
    }
)


def compiled_modules() -> list[Extension]:
    """The data plane as extension modules."""
    try:
        from mypyc.build import mypycify
    except ModuleNotFoundError as error:
        raise SystemExit(
            f"ANYWASM_COMPILED=1 needs {error.name}: pip install mypy setuptools, then build with "
            "--no-build-isolation"
        ) from error
    os.environ["MYPYPATH"] = "src"
    names = [path[:-3] for folder in FOLDERS for path in sorted(glob(f"{folder}/*.py"))]
    names = [name for name in (*names, *MODULES) if name not in LEFT_OUT]
    paths = [f"src/anywasm/{name}.py" for name in names if not name.endswith("__init__")]
    options = ["--config-file=", "--strict", "--explicit-package-bases", *paths]
    return list(mypycify(options, opt_level="2", group_name="anywasm"))


class BuildExtensions(build_ext):
    """Builds these, too, beside the extensions in C that pyproject.toml names."""

    def finalize_options(self) -> None:
        """Add them before anything looks at what there is to build."""
        # Other commands only ask for the names of sources, and generating these takes a minute.
        if not {"dist_info", "egg_info", "sdist"}.intersection(sys.argv):
            self.distribution.ext_modules += compiled_modules()
        super().finalize_options()


setup(cmdclass={"build_ext": BuildExtensions} if os.environ.get("ANYWASM_COMPILED") == "1" else {})
