"""The process that runs one script: `python -m anywasm.testing.conformance.worker`.

An engine may end the process that it is in. Each result is a line of JSON as soon as it is there,
so that it is known where that was.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from anywasm.core.registry import get_wasm_engine
from anywasm.testing.conformance.converter import find_converter
from anywasm.testing.conformance.session import Session


def main(engine: str, program: str, script: Path) -> None:
    """Run a converted script.

    Args:
        engine: The engine's name.
        program: The converter.
        script: The script's JSON, beside its binaries.
    """
    commands = json.loads(script.read_text())["commands"]
    session = Session(get_wasm_engine(engine), script.parent, find_converter(program))
    for result in session.run(commands):
        sys.stdout.write(json.dumps(result.data()) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], Path(sys.argv[3]))
