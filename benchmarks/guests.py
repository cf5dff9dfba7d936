"""What the benchmarks run: modules, and what stands for them on engines without WebAssembly."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path
from typing import Any, ClassVar

from anywasm.abi.enums import Action, BufferType, MapType
from anywasm.benchmarks.kernels import KERNELS
from anywasm.core.vm import VM
from anywasm.engines.null.library import NullGuest, export, register_guest
from anywasm.sdk import guest_bytes, guest_names
from anywasm.testing.null_filter import NullFilter
from anywasm.testing.quickstart import register_quickstart

#: Sources and built modules; see `anywasm.benchmarks.build`.
WASM = Path(str(files("anywasm.benchmarks"))) / "wasm"


class Crossing(NullGuest):
    """`crossing.wat` in Python."""

    imports: ClassVar = {"env": {"host": "i32 -> i32"}}
    memory_pages = 2

    @export("->")
    def empty(self) -> None:
        """Do nothing."""

    @export("i32 i32 -> i32")
    def add_i32(self, a: int, b: int) -> int:
        """Add."""
        return a + b

    @export("i64 i64 -> i64")
    def add_i64(self, a: int, b: int) -> int:
        """Add."""
        return a + b

    @export("f64 f64 -> f64")
    def add_f64(self, a: float, b: float) -> float:
        """Add."""
        return a + b

    @export("i32 -> i32")
    def call_host(self, times: int) -> int:
        """Call the host as often as told."""
        host = self.host["env"]["host"]
        value = 0
        for _ in range(times):
            value = host(value)
        return value


class Multi(NullGuest):
    """`multi.wat` in Python."""

    @export("i32 i32 -> i32 i32")
    def swap(self, a: int, b: int) -> tuple[int, int]:
        """Both, the other way round."""
        return b, a


class Header(NullFilter):
    """`header.c` in Python."""

    host_functions = ("proxy_add_header_map_value",)

    @export("i32 i32 ->")
    def proxy_on_context_create(self, context: int, root: int) -> None:
        """Hear of a context."""

    @export("i32 i32 i32 -> i32")
    def proxy_on_response_headers(self, context: int, count: int, end_of_stream: int) -> int:
        """Add the header."""
        self.call("proxy_add_header_map_value", MapType.HTTP_RESPONSE_HEADERS, b"x-bench", b"1")
        return Action.CONTINUE

    @export("i32 -> i32")
    def proxy_on_done(self, context: int) -> int:
        """Be done at once."""
        return 1

    @export("i32 ->")
    def proxy_on_log(self, context: int) -> None:
        """Log nothing."""

    @export("i32 ->")
    def proxy_on_delete(self, context: int) -> None:
        """Forget nothing."""


class Body(NullFilter):
    """`body.c` in Python."""

    host_functions = ("proxy_get_buffer_bytes", "proxy_set_buffer_bytes")

    @export("i32 i32 i32 -> i32")
    def proxy_on_response_body(self, context: int, size: int, end_of_stream: int) -> int:
        """Read it all, and write it back."""
        body = self.buffer(BufferType.HTTP_RESPONSE_BODY)
        self.replace_buffer(BufferType.HTTP_RESPONSE_BODY, body)
        return Action.CONTINUE


def _kernel(name: str) -> Any:
    kernel, _ = KERNELS[name]
    return export("i32 -> i32", name)(lambda self, n: kernel(n))


_GUESTS: dict[str, type[NullGuest]] = {
    "crossing": Crossing,
    "multi": Multi,
    "header": Header,
    "body": Body,
    "kernels": type("Kernels", (NullGuest,), {name: _kernel(name) for name in KERNELS}),
}


def register() -> None:
    """Let the `null` engine find what stands for the modules, by their names. Idempotent."""
    register_quickstart()
    for name, guest in _GUESTS.items():
        register_guest(name, guest)


def code(vm: VM, name: str) -> bytes:
    """What `vm` compiles for the module `name`: of this suite, or of the SDK."""
    if not vm.capabilities.wasm:
        register()
        return name.encode()
    return guest_bytes(name) if name in guest_names() else (WASM / f"{name}.wasm").read_bytes()


def write(vm: VM, name: str, folder: Path) -> Path:
    """The module as a file in `folder`, for a configuration."""
    path = folder / f"{name}.{vm.name}"
    path.write_bytes(code(vm, name))
    return path
