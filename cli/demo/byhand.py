"""How to do by hand what the demo did."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import sys
from collections.abc import Sequence

from anywasm.cli.demo.outcome import Outcome
from anywasm.cli.demo.store import KEY, VALUE, without_password
from anywasm.cli.demo.trial import FUNCTIONS, ID, TARGET
from anywasm.sdk import guest_path

_ADDRESS = "127.0.0.1:2045"


def by_hand(outcomes: Sequence[Outcome], redis: str | None) -> str:
    """Commands to be pasted into a shell, with a configuration that needs nothing else to run.

    Args:
        outcomes: The demo's; the configuration takes the first engine that ran WebAssembly.
        redis: The store that the demo was given, or None.
    """
    engine = "wasmtime"
    for outcome in reversed(outcomes):
        if outcome.good and outcome.status.vm is not None and outcome.status.vm.capabilities.wasm:
            engine = outcome.status.name
    store = f'{{type: memory, data: {{{KEY}: "{VALUE}"}}}}  # or type: redis, url: redis://...'
    if redis is not None:
        store = f'{{type: redis, url: "{without_password(redis)}"}}'
    plugins = "\n".join(_plugin(name, engine) for name in FUNCTIONS)
    return f"""\
Try it by hand:

cat >quickstart.yaml <<'END'
listeners:
  - {{name: functions, address: "{_ADDRESS}"}}
plugins:
{plugins}
state_stores:
  state_demo: {store}
END
{_command()} start -c quickstart.yaml

and in another terminal:

curl -H 'id: {ID}' 'http://{_ADDRESS}{TARGET}'"""


def _plugin(name: str, engine: str) -> str:
    path = json.dumps(str(guest_path(name)))
    return f"  - {{name: {name}, vm_config: {{engine: {engine}, path: {path}}}}}"


def _command() -> str:
    """The `anywasm` that runs now, as a shell finds it."""
    beside = os.path.join(os.path.dirname(sys.executable), "anywasm")
    if shutil.which("anywasm") == beside:
        return "anywasm"
    if os.access(beside, os.X_OK):
        return shlex.quote(beside)
    return f"{shlex.quote(sys.executable)} -m anywasm"
