"""Published filters of several languages, for those who have them."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from anywasm.benchmarks.suite import Options
from anywasm.testing.golden.guests import GuestFinder, GuestNotFoundError
from anywasm.testing.golden.modules import MODULES

#: The distribution with proxy-wasm filters, when it is installed.
PACKAGE = "gpustack_higress_plugins"

#: What is measured, by the name of the case.
REAL = {
    "C++ model-router": "model-router/2.0.0",
    "Go ip-acl": "gpustack-ip-acl/0.1.0",
    "Go transformer": "transformer/2.0.0",
    "Rust ai-data-masking": "ai-data-masking/2.0.3",
}


@dataclass(frozen=True, slots=True)
class RealFilter:
    """A filter with the least configuration that it serves with.

    Attributes:
        wasm: Its module.
        config: Its plugin configuration.
    """

    wasm: Path
    config: Any


def real_filter(name: str, options: Options) -> RealFilter:
    """The filter of `REAL` in the folder of `--wheels`, or of the installed package.

    Skips the benchmark where there is neither.
    """
    (module,) = (module for module in MODULES if module.name == name)
    for folder in wheel_folders(options):
        try:
            return RealFilter(GuestFinder(folder).find(module.case, Path()), module.config)
        except GuestNotFoundError:
            continue
    pytest.skip(f"no {name}: install {PACKAGE}, or name a folder of unpacked wheels with --wheels")


def wheel_folders(options: Options) -> list[Path]:
    """Where large modules may be: what `--wheels` names, else the installed package."""
    if options.wheels:
        return [options.wheels]
    found = importlib.util.find_spec(PACKAGE)
    places = [] if found is None else found.submodule_search_locations or ()
    return [Path(place).parent for place in places]
