"""The types of the C extension; see `anywasm.abi.binding` and `anywasm.abi.guest_call`."""

from collections.abc import Callable
from typing import Any

from anywasm.abi.context import Context
from anywasm.abi.guest import Guest
from anywasm.abi.guest_memory import GuestMemory
from anywasm.abi.table import HostFunction
from anywasm.core.instance import Instance

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
