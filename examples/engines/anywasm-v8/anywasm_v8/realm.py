"""One thread's V8: an isolate with the functions of `realm.js`."""

from __future__ import annotations

import itertools
import threading
from collections import deque
from collections.abc import Callable
from importlib.resources import files
from typing import Any
from weakref import WeakValueDictionary

import STPyV8

from anywasm import UnsupportedError
from anywasm.core.engine import MeteredGate

#: V8 takes it that a thread has so much stack, and a little more.
SMALLEST_STACK = 1 << 20

_SOURCE = files("anywasm_v8").joinpath("realm.js").read_text()
_numbers = itertools.count(1)


class HostSide:
    """What V8 calls for one instance: its host functions, and the gate that keeps their errors.

    It belongs to the instance. V8 knows it by number, or nothing would ever free the two: neither
    garbage collector sees through the other.
    """

    def __init__(self, gate: MeteredGate) -> None:
        self.number = next(_numbers)
        self.gate = gate
        self.functions: list[Callable[..., Any]] = []


class Realm:
    """V8 for one thread; modules and instances in it are known by numbers.

    V8's handles may only be touched by the thread that entered their isolate. A realm is therefore
    never freed, and what other threads let go of is dropped when its own thread comes by.

    Attributes:
        js: The functions of `realm.js`.
    """

    def __init__(self) -> None:
        if 0 < threading.stack_size() < SMALLEST_STACK:
            raise UnsupportedError(f"V8 needs threads with a stack of {SMALLEST_STACK} bytes")
        self._isolate = STPyV8.JSIsolate()
        self._isolate.enter()
        self._context = STPyV8.JSContext()
        self._context.enter()
        self._sides: WeakValueDictionary[int, HostSide] = WeakValueDictionary()
        self._modules: dict[int, bool] = {}
        self._forgotten: deque[tuple[str, int]] = deque()
        self._bound: dict[tuple[int, str], Any] = {}
        self.js: Any = self._context.eval(_SOURCE)(self._call_host)

    def _call_host(self, number: int, index: int, *values: Any) -> Any:
        side = self._sides[number]
        try:
            result = side.functions[index](*values)
        except BaseException as error:
            side.gate.pending = error
            return None
        return 0 if result is None else result

    def module(self, number: int, wasm: bytes) -> bool:
        """Have the module of that number here; False when V8 refuses it (`js.failure()`)."""
        self.sweep()
        if number not in self._modules:
            if self.js.compile(number, wasm.decode("latin-1")) is None:
                return False
            self._modules[number] = True
        return True

    def adopt(self, side: HostSide) -> None:
        """Let V8 call these host functions, for as long as somebody else refers to them."""
        self._sides[side.number] = side

    def bound(self, number: int, name: str, bind: Callable[[], Any]) -> Any:
        """V8's function of that name in an instance; kept here, and not by who calls it."""
        try:
            return self._bound[number, name]
        except KeyError:
            function = self._bound[number, name] = bind()
            return function

    def forget(self, kind: str, number: int) -> None:
        """Drop a `Module` or an `Instance` at the next opportunity. For any thread."""
        self._forgotten.append((kind, number))

    def sweep(self) -> None:
        """Drop what was forgotten."""
        while self._forgotten:
            kind, number = self._forgotten.popleft()
            getattr(self.js, f"drop{kind}")(number)
            if kind == "Module":
                self._modules.pop(number, None)
            else:
                for key in [key for key in self._bound if key[0] == number]:
                    del self._bound[key]


_local = threading.local()
_all: list[Realm] = []


def realm() -> Realm:
    """The calling thread's.

    Raises:
        UnsupportedError: In a thread with too small a stack.
    """
    found: Realm | None = getattr(_local, "realm", None)
    if found is None:
        found = _local.realm = Realm()
        _all.append(found)
    return found


def forget_module(number: int) -> None:
    """Drop a module in all threads' realms."""
    for each in _all:
        each.forget("Module", number)
