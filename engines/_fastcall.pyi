"""The types of the C extension; see `anywasm.engines.fastcall`."""

from collections.abc import Callable, Generator
from typing import Any, NoReturn, TypeVar

from anywasm.core.gate import CallGate
from anywasm.core.memory import Memory
from anywasm.core.types import FuncType

_MemoryType = TypeVar("_MemoryType", bound=type[Memory])

#: The address of the `wasmtime_func_unchecked_callback_t` whose environment is `Host.address`.
wasmtime_callback: int
#: The address of the `M3RawCall` whose user data is `Host.address`, of one with a `Wasm3Machine`.
wasm3_callback: int

class Lock:
    depth: int
    def acquire(self, blocking: bool, /) -> bool: ...
    def release(self) -> None: ...
    def _is_owned(self) -> bool: ...

class Export:
    def __call__(self, *args: Any) -> Any: ...

class Host:
    address: int
    def __init__(
        self,
        machine: Wasm3Machine | None,
        gate: CallGate,
        name: str,
        type: FuncType,
        params: bytes,
        results: bytes,
        fn: Callable[..., Any],
        /,
    ) -> None: ...

class WasmtimeExport(Export):
    def __init__(
        self,
        context: int,
        func: bytes,
        engine: None,
        gate: CallGate,
        name: str,
        type: FuncType,
        params: bytes,
        results: bytes,
        fail: Callable[[int, int], NoReturn],
        /,
    ) -> None: ...

#: The address of the epoch callback whose data is `WasmtimePromises.address`.
wasmtime_epoch: int
#: The address of the `wasmtime_func_unchecked_callback_t` whose environment is that of a
#: `WasmtimeSuspending`.
suspending_callback: int

class WasmtimePromises:
    address: int
    can_suspend: bool
    def __init__(
        self, context: int, gate: CallGate, store: Any, on_epoch: int, token: int, /
    ) -> None: ...
    def close(self) -> None: ...

class WasmtimeSuspending(Host):
    def __init__(
        self,
        goes_on: bool,
        promises: WasmtimePromises,
        gate: CallGate,
        name: str,
        type: FuncType,
        params: bytes,
        results: bytes,
        fn: Callable[..., Any],
        /,
    ) -> None: ...

class WasmtimePromising:
    def __init__(
        self,
        func: bytes,
        promises: WasmtimePromises,
        gate: CallGate,
        name: str,
        type: FuncType,
        params: bytes,
        results: bytes,
        fail: Callable[[int, int], NoReturn],
        /,
    ) -> None: ...
    def __call__(self, *args: Any) -> Generator[Any, Any, Any]: ...

class Wasm3Machine:
    def __init__(
        self,
        runtime: int,
        fields: int,
        end: int,
        ratio: int,
        reserve: int,
        memory: Memory,
        /,
    ) -> None: ...

class Wasm3Export(Export):
    def __init__(
        self,
        function: int,
        machine: Wasm3Machine,
        gate: CallGate,
        name: str,
        type: FuncType,
        params: bytes,
        results: bytes,
        fail: Callable[[int], NoReturn],
        /,
    ) -> None: ...

class WasmerExport(Export):
    def __init__(
        self,
        native: Callable[..., Any],
        gate: CallGate,
        name: str,
        type: FuncType,
        params: bytes,
        results: bytes,
        fail: Callable[[BaseException], NoReturn],
        /,
    ) -> None: ...
    def forget(self) -> None: ...

class WasmerHost(Export):
    def __init__(
        self,
        engine: None,
        gate: CallGate,
        name: str,
        type: FuncType,
        params: bytes,
        results: bytes,
        fn: Callable[..., Any],
        /,
    ) -> None: ...

def use_wasmtime(
    func_call_unchecked: int,
    trap_new: int,
    trap_delete: int,
    error_delete: int,
    func_call_async: int,
    call_future_poll: int,
    call_future_delete: int,
    context_set_epoch_deadline: int,
    measure: Callable[[], int],
    too_deep: Callable[[], NoReturn],
    fiber_room: int,
    /,
) -> None: ...
def use_wasm3(
    call: int,
    clear_backtrace: int,
    raised: int,
    measure: Callable[[], int],
    too_deep: Callable[[], NoReturn],
    /,
) -> None: ...
def hasten_memory(cls: _MemoryType, /) -> _MemoryType: ...

class Ticker:
    def __new__(
        cls, function: int, argument: int, interval: float, idle: float, owner: object, /
    ) -> Ticker: ...
    def arm(self, until: float, /) -> None: ...
    def close(self) -> None: ...
