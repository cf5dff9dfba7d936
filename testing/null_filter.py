"""A proxy-wasm filter or function written in Python, for hosts that are tested without wasm."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, ClassVar

import anywasm.abi.hostcalls  # noqa: F401 (fills the table)
from anywasm.abi.enums import Action, BufferType, LogLevel, Status
from anywasm.abi.pairs import Pair, encode_pairs
from anywasm.abi.table import HOST_FUNCTIONS
from anywasm.engines.null.library import NullGuest, export
from anywasm.engines.null.memory import GuestMemory

#: "To the end" where the ABI wants a length; larger values overflow in some hosts.
ALL = 0x7FFFFFFF

_MASKS = {"u32": 0xFFFFFFFF, "i32": 0xFFFFFFFF, "u64": (1 << 64) - 1, "i64": (1 << 64) - 1}
_DATA = frozenset({"data", "data?"})
#: Where host functions write their results: nothing is at address 0, as in C.
_RESULTS = 16
_HEAP = 64
_SMALLEST_BLOCK = 16


class HostCallError(Exception):
    """A host function did not answer OK. A guest that does not catch it traps.

    Attributes:
        function: The host function.
        status: What it answered, a `Status` if the host keeps to the specification.
    """

    def __init__(self, function: str, status: int) -> None:
        self.function = function
        self.status = status
        super().__init__(f"{function} failed with status {status}")


class NullFilter(NullGuest):
    """A guest of the `null` engine that plays the proxy-wasm ABI 0.2.1, memory and all.

    Subclass it, list the host functions that it imports, and export callbacks under the names and
    types of the specification; then `anywasm.engines.null.library.register_guest` gives it a name
    that `vm_config.path` may point at: a file with that name as its content.

        class AddHeader(NullFilter):
            host_functions = ("proxy_add_header_map_value",)

            @export("i32 i32 i32 -> i32")
            def proxy_on_response_headers(self, context: int, count: int, end: int) -> int:
                self.call("proxy_add_header_map_value", MapType.HTTP_RESPONSE_HEADERS, b"a", b"b")
                return Action.CONTINUE

    Strings cross as they do for a WebAssembly guest: through addresses in the guest's memory, which
    the host fills by calling the guest's allocator.

    Attributes:
        host_functions: The names that it imports from `env`; what blocks makes its plugin run on a
            thread, as for any module.
    """

    host_functions: ClassVar[tuple[str, ...]] = ()

    def __init_subclass__(cls) -> None:
        """Import what `host_functions` names, by the host's own types."""
        super().__init_subclass__()
        cls.imports = {"env": {name: _type_text(name) for name in cls.host_functions}}

    def __init__(
        self, memory: GuestMemory, host: Mapping[str, Mapping[str, Callable[..., Any]]]
    ) -> None:
        super().__init__(memory, host)
        self._env = host.get("env", {})
        self._end = _HEAP
        #: Free blocks by size; sizes are powers of two.
        self._free: dict[int, list[int]] = {}
        self._sizes: dict[int, int] = {}

    # --- what every module exports ---

    @export("->")
    def proxy_abi_version_0_2_1(self) -> None:
        """Marks the ABI version; never called."""

    @export("i32 -> i32")
    def proxy_on_memory_allocate(self, size: int) -> int:
        """Give the host, or this guest, `size` bytes; 0 where the memory cannot grow."""
        block = max(_SMALLEST_BLOCK, 1 << (size - 1).bit_length())
        reusable = self._free.get(block)
        if reusable:
            address = reusable.pop()
        else:
            missing = self._end + block - self.memory.size
            if missing > 0 and self.memory.grow(-(-missing // 65536)) < 0:
                return 0
            address = self._end
            self._end += block
        self._sizes[address] = block
        return address

    # --- the host, in terms of bytes ---

    def free(self, address: int) -> None:
        """End the life of what the allocator gave; address 0 is fine."""
        if address:
            self._free.setdefault(self._sizes[address], []).append(address)
            del self._sizes[address]

    def call(self, name: str, *inputs: int | bytes) -> Any:
        """Call a host function by its declared signature (see `anywasm.abi.table`).

        Args:
            name: One of `host_functions`.
            *inputs: An int for a number, bytes for a pointer and a size.

        Returns:
            Its output: None, one value, or a tuple of several; data as bytes.

        Raises:
            HostCallError: When its status is not OK.
        """
        signature = HOST_FUNCTIONS[name].signature
        raw: list[int] = []
        held: list[int] = []
        for kind, value in zip(signature.inputs, inputs, strict=True):
            if isinstance(value, bytes):
                address = self.proxy_on_memory_allocate(len(value)) if value else 0
                if value:
                    self.memory.write(address, value)
                    held.append(address)
                raw += (address, len(value))
            else:
                raw.append(value & _MASKS[kind])
        at = _RESULTS
        for kind in signature.outputs:
            raw += (at, at + 4) if kind in _DATA else (at,)
            at += 8
        status = self._env[name](*raw)
        for address in held:
            self.free(address)
        if status != Status.OK:
            raise HostCallError(name, status)
        outputs = tuple(
            self._output(kind, _RESULTS + 8 * index) for index, kind in enumerate(signature.outputs)
        )
        return outputs if len(outputs) > 1 else outputs[0] if outputs else None

    def _output(self, kind: str, at: int) -> int | bytes:
        if kind not in _DATA:
            return self.memory.read_u64(at) if kind == "u64" else self.memory.read_u32(at)
        address, size = self.memory.read_u32(at), self.memory.read_u32(at + 4)
        data = self.memory.read(address, size)
        self.free(address)
        return data

    def log(self, level: LogLevel, message: str) -> None:
        """Log a line. Needs `proxy_log`."""
        self.call("proxy_log", level, message.encode())

    def buffer(self, buffer: BufferType) -> bytes:
        """All of a buffer; nothing where there is none. Needs `proxy_get_buffer_bytes`."""
        try:
            data: bytes = self.call("proxy_get_buffer_bytes", buffer, 0, ALL)
        except HostCallError as error:
            if error.status != Status.NOT_FOUND:
                raise
            return b""
        return data

    def replace_buffer(self, buffer: BufferType, data: bytes) -> None:
        """Replace all of a buffer. Needs `proxy_set_buffer_bytes`."""
        self.call("proxy_set_buffer_bytes", buffer, 0, ALL, data)

    def respond(self, status: int, headers: Iterable[Pair], body: bytes) -> Action:
        """Answer from the guest. Needs `proxy_send_local_response`.

        Returns:
            What the callback should return then: PAUSE, so that nothing goes on.
        """
        self.call("proxy_send_local_response", status, b"", body, encode_pairs(headers), -1)
        return Action.PAUSE


def _type_text(name: str) -> str:
    wasm = HOST_FUNCTIONS[name].type
    return f"{' '.join(wasm.params)} -> {' '.join(wasm.results)}"
