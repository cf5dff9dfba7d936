"""The types of the C extension; see `anywasm.abi.binding`, `guest_call` and `headers`."""

from collections.abc import Callable, Iterable
from typing import Any, final

from anywasm.abi.context import Context
from anywasm.abi.guest import Guest
from anywasm.abi.guest_memory import GuestMemory
from anywasm.abi.pairs import Pair
from anywasm.abi.table import HostFunction
from anywasm.core.instance import Instance

def accelerated(name: str, implementation: Callable[..., Any], /) -> Callable[..., Any]: ...

class HostCall:
    def __init__(
        self,
        function: HostFunction,
        implementation: Callable[..., Any],
        guest: Guest,
        memory: GuestMemory,
        inputs: str,
        outputs: str,
        restricted: bool,
        /,
    ) -> None: ...
    def __call__(self, *args: int) -> int: ...

class GuestCall:
    def __init__(
        self, guest: Guest, instance: Instance, limit: float, interruptible: bool, /
    ) -> None: ...
    def __call__(
        self, context: Context, function: Callable[..., Any], *args: int, limit: float | None = None
    ) -> Any: ...

@final
class HeaderMap:
    pairs: list[Pair]
    def __init__(self, pairs: Iterable[Pair] = ()) -> None: ...
    def get(self, name: bytes) -> bytes | None: ...
    def add(self, name: bytes, value: bytes) -> None: ...
    def replace(self, name: bytes, value: bytes) -> None: ...
    def remove(self, name: bytes) -> None: ...
    def set_pairs(self, pairs: Iterable[Pair]) -> None: ...
    @property
    def byte_size(self) -> int: ...
    def __len__(self) -> int: ...
