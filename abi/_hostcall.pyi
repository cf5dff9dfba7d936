"""The types of the C extension; see `anywasm.abi.binding`."""

from collections.abc import Callable
from typing import Any

from anywasm.abi.guest import Guest
from anywasm.abi.guest_memory import GuestMemory
from anywasm.abi.table import HostFunction

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
