"""The call path of wasm3: exports, host functions, and the native stack that guest code takes.

wasm3 checks its own stack but not the thread's, on which each guest call takes a frame as well. So
the stack given to guests is chosen small enough for the worst case (the smallest guest frames over
the largest native ones), and every host function, from which a guest may be entered again, checks
what is left of both.
"""

from __future__ import annotations

import ctypes
import resource
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NoReturn

from anywasm.core.errors import ConcurrencyError, InstantiationError, TrapError, TrapKind
from anywasm.core.marshal import SlotLayout, SlotViews, slot_export, slot_host
from anywasm.core.types import FuncType
from anywasm.engines.fastcall import ENABLED, native, signature
from anywasm.engines.stack import thread_stack
from anywasm.engines.wasm3.library import HOST_FUNCTION, Machine

if TYPE_CHECKING:
    from anywasm.core.metering import MeteredGate
    from anywasm.engines.wasm3.library import Wasm3Library
    from anywasm.engines.wasm3.memory import Wasm3Memory
    from anywasm.engines.wasm3.vm import Wasm3VM

LAYOUT = SlotLayout(stride=1, results_first=True)

#: What a host function answers when it raised.
_RAISED = ctypes.create_string_buffer(b"[trap] a host function raised")
_RAISED_AT = ctypes.addressof(_RAISED)

#: Views of host functions' slots that are kept, one for each depth of the guest's stack.
_MOST_VIEWS = 64

_MIB = 1 << 20
#: The stack of a thread is taken to be no larger than this, which is what Linux gives by default.
_USUAL_STACK = 8 * _MIB
#: What glibc gives to a thread where the limit is infinite.
_UNLIMITED_STACK = 2 * _MIB
#: The smallest frame that a guest function takes of wasm3's stack, in bytes.
_SMALLEST_FRAME = 8

# The guest on which native frames are measured. Function 0 is an import; each of the others takes
# an i32: 1 calls itself that often and then the import, 2 does so through its table, 3 calls the
# import inside 8 loops, 4 after a row of additions and the like.
_PROBE = bytes.fromhex(
    "0061736d0100000001080260017f006000000205010000000103050400000000040401700001090701004100"
    "0b01020a7204110020000440200041016b10010510000b0b140020000440200041016b41001100000510000b"
    "0b1c000340034003400340034003400340034010000b0b0b0b0b0b0b0b0b2c00200020006a20006c20007320"
    "006b20007120007220007720007420006a20006c20007320006b210010000b"
)
_PROBE_DEPTH = 8


class Slots:
    """The values of one export's calls, and the arrays of their addresses that `m3_Call` takes."""

    __slots__ = ("addresses", "views")

    def __init__(self, type: FuncType) -> None:
        size = LAYOUT.size(type)
        buffer = (ctypes.c_uint64 * (size // 8))()
        self.views = SlotViews(memoryview(buffer).cast("B"))
        start = ctypes.addressof(buffer)
        self.addresses = (ctypes.c_void_p * (size // 8))(*range(start, start + size, 8))


class Stack:
    """What guest code may take of the native stack. Thread-safe.

    Attributes:
        call: Native bytes of one guest call, measured.
        loop: Native bytes of one loop around it.
        budget: Native bytes that all guest frames of an instance may take together.
        reserve: Native bytes that are left to a host function at the far end.
        threads: Holds, as `low`, the end of the stack of each thread that was found to be fit.
    """

    def __init__(self, library: Wasm3Library) -> None:
        self.call, self.loop = _measure(library)
        soft = resource.getrlimit(resource.RLIMIT_STACK)[0]
        unlimited = soft == resource.RLIM_INFINITY
        thread = _UNLIMITED_STACK if unlimited else min(soft, _USUAL_STACK)
        self.budget = thread // 2
        self.reserve = thread // 8
        self.threads = threading.local()
        if ENABLED:
            native.use_wasm3(
                library.address("m3_Call"),
                library.address("ClearBacktrace"),
                _RAISED_AT,
                self.low,
                _refuse_depth,
            )

    def ratio(self, loops: int, frame: int) -> int:
        """Native bytes for a byte of wasm3's stack, in a function with a frame and nested loops."""
        return -(-(self.call + self.loop * loops) // max(frame, _SMALLEST_FRAME))

    def size(self, ratio: int) -> int:
        """Bytes of wasm3's stack with which guest code of that `ratio` stays in the budget."""
        return self.budget // ratio // 8 * 8

    def low(self) -> int:
        """The lowest address of this thread's stack.

        Raises:
            ConcurrencyError: When its stack is too small for guest code.
        """
        known: int | None = getattr(self.threads, "low", None)
        if known is not None:
            return known
        low, size = thread_stack()
        needed = self.budget + 2 * self.reserve
        if size < needed:
            raise ConcurrencyError(
                f"this thread's stack of {size // 1024} KiB is too small for wasm3, which needs "
                f"{needed // 1024} KiB: give it more with threading.stack_size"
            )
        self.threads.low = low
        return low


def _refuse_depth() -> NoReturn:
    """Raise what stands against a host function with too little stack below it."""
    raise TrapError(TrapKind.STACK_OVERFLOW)


def _measure(library: Wasm3Library) -> tuple[int, int]:
    """Native bytes that a guest call and a loop take in this build of wasm3.

    A host function is told the address of its context, which lies on the native stack.
    """
    depths: list[int] = []

    def note(runtime: int, context: int, sp: int, memory: int) -> int:
        depths.append(context)
        return 0

    machine = Machine(library, _PROBE, 4096)
    argument = ctypes.c_uint64()
    arguments = ctypes.c_uint32(1), (ctypes.c_void_p * 1)(ctypes.addressof(argument))
    try:
        machine.link(0, HOST_FUNCTION(note))
        machine.compile()
        for index, depth in ((1, 0), (1, _PROBE_DEPTH), (2, _PROBE_DEPTH), (3, 0), (4, 0)):
            argument.value = depth
            machine.check(library.m3_Call(ctypes.c_void_p(machine.function(index)), *arguments))
    finally:
        machine.close()
    start, direct, indirect, loops, plain = (depths[0] - depth for depth in depths)
    if plain != start or min(direct, indirect, loops) <= 0:
        raise ImportError(
            f"pywasm3 {library.version} was built without optimization: its instructions take "
            "native stack; rebuild it with pip install --force-reinstall --no-binary pywasm3"
        )
    return max(direct, indirect) // _PROBE_DEPTH, loops // 8


class Calls:
    """The ways into and out of one machine."""

    def __init__(
        self,
        vm: Wasm3VM,
        ratio: int,
        gate: MeteredGate,
        machine: Machine,
        memory: Wasm3Memory,
        name: Callable[[int], str],
    ) -> None:
        self._library = vm.library
        self._traps = vm.traps
        self._stack = vm.stack
        self._ratio = ratio
        self._gate = gate
        self._machine = machine
        self._memory = memory
        self._name = name
        self._low = 0
        #: For each host function, what is known of the places where its slots have been.
        self._known: list[dict[int, tuple[Any, ...]]] = []
        fields = machine.fields
        self._end = fields.stack + 4 * fields.stack_slots
        if ENABLED:
            at = ctypes.addressof(fields)
            self._native = native.Wasm3Machine(
                machine.runtime, at, self._end, ratio, vm.stack.reserve, memory
            )

    def export(self, name: str, function: int, type: FuncType) -> Callable[..., Any]:
        """The Python callable for a guest's function: in C where it can be.

        Args:
            name: Its name, for messages.
            function: Its address.
            type: Its type.
        """
        letters = signature(type)
        if letters is not None:
            return native.Wasm3Export(
                function, self._native, self._gate, name, type, *letters, self._fail
            )
        slots = Slots(type)
        invoke = self.bind_export(function, type, slots)
        return slot_export(name, type, LAYOUT, self._gate, slots.views, invoke)

    def bind_export(self, function: int, type: FuncType, slots: Slots) -> Callable[[], None]:
        """What runs the function on `slots`, and raises what ended it early."""
        address, addresses = ctypes.c_void_p(function), slots.addresses
        argc, retc = ctypes.c_uint32(len(type.params)), ctypes.c_uint32(len(type.results))
        has_results = bool(type.results)
        call, get_results = self._library.m3_Call, self._library.m3_GetResults
        stack, threads = self._stack, self._stack.threads
        memory_may_move = self._memory.invalidate

        def invoke() -> None:
            try:
                low = threads.low
            except AttributeError:
                low = stack.low()
            if low != self._low:
                self._enter(low)
            _leave_room()
            # Before the call: after it a KeyboardInterrupt could come first.
            memory_may_move()
            failed = call(address, argc, addresses)
            if failed:
                self._fail(failed)
            if has_results:
                get_results(address, retc, addresses)

        return invoke

    def start(self) -> None:
        """Run the module's start function.

        Raises:
            InstantiationError: When it traps; an exception of a host function comes as itself.
        """
        gate, failed = self._gate, 0
        gate.acquire(False)
        try:
            self._enter(self._stack.low())
            _leave_room()
            failed = self._library.m3_RunStart(self._machine.module)
            if failed:
                self._fail(failed)
        except TrapError as error:
            if failed == _RAISED_AT:
                raise
            raise InstantiationError(f"the start function trapped: {error}") from error
        finally:
            self._memory.invalidate()
            gate.release()

    def bind_host(self, name: str, type: FuncType, fn: Callable[..., Any]) -> tuple[Any, int, Any]:
        """The host function `fn` as `Machine.link` takes it.

        Raises:
            UnsupportedError: Where the type has values that cannot cross.
        """
        letters = signature(type)
        if letters is not None:
            target = native.Host(self._native, self._gate, name, type, *letters, fn)
            return ctypes.c_void_p(native.wasm3_callback), target.address, target
        host = slot_host(name, type, LAYOUT, fn)
        block = ctypes.c_uint64 * max(1, len(type.params) + len(type.results))
        known: dict[int, tuple[Any, ...]] = {}
        self._known.append(known)
        gate, memory_may_move = self._gate, self._memory.invalidate

        def view(sp: int) -> tuple[Any, ...]:
            if len(known) >= _MOST_VIEWS:
                known.clear()
            views = SlotViews(memoryview(block.from_address(sp)).cast("B"))
            # Below this the native stack would not do for the rest of wasm3's, and the reserve.
            floor = self._low + self._stack.reserve + (self._end - sp) * self._ratio
            known[sp] = found = (floor, views.q, views.d, views.f, views.b)
            return found

        def called(runtime: int, context: int, sp: int, memory: int) -> int:
            try:
                floor, q, d, f, b = known.get(sp) or view(sp)
                if context < floor:
                    _refuse_depth()
                host(q, d, f, b)
                memory_may_move()
                if gate.expires is not None:
                    gate.check_time()
            except BaseException as error:
                gate.pending = error
                return _RAISED_AT
            return 0

        return HOST_FUNCTION(called), 0, None

    def bind_check(self) -> Any:
        """What metered code calls when its fuel is spent, or it wants to grow.

        It enters no guest, hence the reserve is stack enough for it wherever it is called.
        """
        gate = self._gate

        def called(runtime: int, context: int, sp: int, memory: int) -> int:
            try:
                slots = (ctypes.c_int64 * 3).from_address(sp)
                slots[0] = gate.checked(slots[1] & 0xFFFFFFFF, slots[2] & 0xFFFFFFFF)
            except BaseException as error:
                gate.pending = error
                return _RAISED_AT
            return 0

        return HOST_FUNCTION(called)

    def _enter(self, low: int) -> None:
        """Take over for the thread whose stack ends at `low`."""
        self._low = low
        for known in self._known:
            known.clear()

    def _fail(self, failed: int) -> NoReturn:
        pending = self._gate.take_pending()
        if failed == _RAISED_AT and pending is not None:
            self._machine.forget_backtrace()
            raise pending
        raise self._traps.error(failed, self._machine, self._name)


def _leave_room() -> None:
    """Fail with `RecursionError` here rather than on entry of a host function.

    There nobody could catch it: ctypes would print it and answer wasm3 with anything.
    """
