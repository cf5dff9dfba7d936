"""From a row of the table to the function that a guest imports.

For each signature the wrapper's source is written out once: read the guest's data, call the
implementation with the effective context, write the results back, return the status. A bad pointer
is INVALID_MEMORY_ACCESS and nothing else happens (proxy-wasm spec, "Hostcalls"). Where there was a
compiler at installation, `_hostcall.c` does the same in its place, in half the time, and some
implementations have an equal in C as well; `ANYWASM_FASTCALL=0` leaves both out.
"""

from __future__ import annotations

import linecache
from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING, Any

from anywasm.abi.enums import Status
from anywasm.abi.native import native
from anywasm.abi.table import HostFunction, Phase, Signature
from anywasm.core.errors import MemoryBoundsError

if TYPE_CHECKING:
    from anywasm.abi.guest import Guest

#: What kinds are to the extension.
_INPUT_LETTERS = {"u32": "u", "u64": "u", "i32": "i", "i64": "l", "data": "d"}
_OUTPUT_LETTERS = {"u32": "u", "u64": "w", "data": "d", "data?": "o"}

_ALL = Phase.START | Phase.ALLOCATION
_SIZES = {"u32": 4, "u64": 8}
_SIGN_BITS = {"i32": 1 << 31, "i64": 1 << 63}


@cache
def _source(signature: Signature, restricted: bool) -> Callable[..., Any]:
    params: list[str] = []
    decode: list[str] = []
    values: list[str] = []
    for index, kind in enumerate(signature.inputs):
        name = f"a{index}"
        if kind == "data":
            params += [f"{name}_ptr", f"{name}_size"]
            # A zero-length read never fails, whatever the pointer (Rust guests send 1).
            decode.append(f"{name} = memory.read({name}_ptr, {name}_size) if {name}_size else b''")
        else:
            params.append(name)
            if kind in _SIGN_BITS:
                decode.append(f"{name} = {name} - (({name} & {_SIGN_BITS[kind]}) << 1)")
        values.append(name)
    results = [f"r{index}" for index in range(len(signature.outputs))]
    encode: list[str] = []
    # Addresses for results are tried before the function acts: what it did could not be undone.
    checks: list[str] = []
    for name, kind in zip(results, signature.outputs):
        if kind == "data?":
            params += [f"{name}_ptr", f"{name}_size"]
            encode.append(f"if not memory.offer({name}, {name}_ptr, {name}_size): return 6")
        elif kind == "data":
            params += [f"{name}_ptr", f"{name}_size"]
            checks += [f"memory.read({name}_ptr, 4)", f"memory.read({name}_size, 4)"]
            encode.append(f"if not memory.give({name}, {name}_ptr, {name}_size): return 6")
        else:
            params.append(f"{name}_ptr")
            checks.append(f"memory.read({name}_ptr, {_SIZES[kind]})")
            encode.append(f"memory.write_{kind}({name}_ptr, {name})")
    lines = [
        "def make(fn, guest, name, memory):",
        f"    def host({', '.join(params)}):",
    ]
    if restricted:
        lines.append("        if guest.phase: guest.refuse(name)")
    reads = [*decode, *checks]
    if reads:
        lines.append("        try:")
        lines += [f"            {line}" for line in reads]
        lines += ["        except MemoryBoundsError:", "            return 6"]
    lines.append(f"        r = fn({', '.join(['guest.effective', *values])})")
    if results:
        lines.append("        if r.__class__ is Status: return r")
        if len(results) == 1:
            lines.append("        r0 = r")
        else:
            lines.append(f"        {', '.join(results)} = r")
        lines.append("        try:")
        lines += [f"            {line}" for line in encode]
        lines += ["        except MemoryBoundsError:", "            return 6", "        return 0"]
    else:
        lines.append("        return 0 if r is None else r")
    lines.append("    return host")
    source = "\n".join(lines) + "\n"
    file = f"<anywasm hostcall {' '.join(signature.inputs)} -> {' '.join(signature.outputs)}>"
    linecache.cache[file] = (len(source), None, source.splitlines(True), file)
    names: dict[str, Any] = {"MemoryBoundsError": MemoryBoundsError, "Status": Status}
    exec(compile(source, file, "exec"), names)  # noqa: S102 (written above, from the table alone)
    return names["make"]  # type: ignore[no-any-return]


def bind_host_function(function: HostFunction, guest: Guest) -> Callable[..., int]:
    """The import for `guest`: a closure over it, with nothing left to look up per call."""
    signature, restricted = function.signature, function.phases & _ALL != _ALL
    if native is not None:
        return native.HostCall(
            function,
            native.accelerated(function.name, function.implementation),
            guest,
            guest.memory,
            "".join(_INPUT_LETTERS[kind] for kind in signature.inputs),
            "".join(_OUTPUT_LETTERS[kind] for kind in signature.outputs),
            restricted,
        )
    make = _source(signature, restricted)
    bound: Callable[..., int] = make(function.implementation, guest, function, guest.memory)
    return bound
