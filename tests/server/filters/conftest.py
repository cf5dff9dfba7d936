"""A filter that does what its requests say, whole servers with chains of it, raw upstreams."""

from __future__ import annotations

import contextlib
import logging
import re
import socket
import threading
import time
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import wasmtime

#: For what the other side does: far more than it ever takes.
PATIENCE = 20.0

#: The end of every stream context.
_LAST = ["done", "log", "delete"]

_KEEP = "(drop (call $effective (local.get $context)))"
_PAUSED = "(drop (call $effective (global.get $paused)))"


def _text(at: int, size: int) -> str:
    return f"(i32.const {at}) (i32.const {size})"


def _set(start: str, size: str, at: int, length: int) -> str:
    return f"(drop (call $set (local.get $buffer) {start} {size} {_text(at, length)}))"


def _answer(status: int, at: int, size: int) -> str:
    return (
        f"(drop (call $local (i32.const {status}) {_text(208, 4)} {_text(at, size)}"
        f" {_text(0, 0)} (i32.const -1)))"
    )


def _replace(kind: str, name: tuple[int, int], value: tuple[int, int]) -> str:
    return f"(drop (call $replace {kind} {_text(*name)} {_text(*value)}))"


_REQUEST, _RESPONSE = "(i32.const 0)", "(i32.const 2)"
_MAP = "(i32.mul (local.get $buffer) (i32.const 2))"
_MOST = "(i32.const 0x7fffffff)"

#: What a letter of a script does. The header `x-L` of a request is the script of the filter L:
#: words such as `1p,4h`, each with the phase it is for: 1 to 3 request headers, body, trailers,
#: 4 to 6 the response's, 7 to 9 done, log and delete.
OPERATIONS = {
    # Ends of a word: what the callback returns, or worse.
    "c": "(return (i32.const 0))",
    "p": "(global.set $paused (local.get $context)) (return (i32.const 1))",
    "w": "(global.set $paused (local.get $context)) (return (i32.const 2))",
    "n": "(return (i32.const 3))",
    "t": "(unreachable)",
    "b": "(loop $forever (br $forever))",
    # Until the end of the body: pause. (The third argument of body callbacks.)
    "u": "(if (i32.eqz (local.get $last)) (then (global.set $paused (local.get $context))"
    " (return (i32.const 1))))",
    # Answers of its own, ends.
    "l": _answer(201, 192, 5),
    "L": _answer(418, 200, 6),
    "x": "(drop (call $close (i32.const 0)))",
    "X": "(drop (call $close (i32.const 1)))",
    # Its own directions.
    "C": "(drop (call $continue (i32.const 0)))",
    "D": "(drop (call $continue (i32.const 1)))",
    # What happens to the stream that paused last, in a call of another.
    "r": f"{_PAUSED} (drop (call $continue (i32.const 0))) {_KEEP}",
    "R": f"{_PAUSED} (drop (call $continue (i32.const 1))) {_KEEP}",
    "k": f"{_PAUSED} {_answer(201, 192, 5)} {_KEEP}",
    "K": f"{_PAUSED} (drop (call $close (i32.const 0))) {_KEEP}",
    "B": f"{_PAUSED} {_set('(i32.const 0)', _MOST, 192, 5)} {_KEEP}",
    # The message that goes by: a header `L: on`, the body longer, empty, another.
    "h": f"(drop (call $add {_MAP} (i32.const 176) (i32.const 3) {_text(216, 2)}))",
    "a": _set(_MOST, "(i32.const 0)", 192, 5),
    "e": _set("(i32.const 0)", _MOST, 0, 0),
    "q": _set("(i32.const 0)", _MOST, 200, 6),
    "T": "(drop (call $add (i32.add (i32.mul (local.get $buffer) (i32.const 2)) (i32.const 1))"
    f" (i32.const 176) (i32.const 3) {_text(216, 2)}))",
    "Y": "(drop (call $add (i32.add (i32.mul (local.get $buffer) (i32.const 2)) (i32.const 1))"
    f" (i32.const 176) (i32.const 3) {_text(280, 3)}))",
    # Heads that cannot be sent.
    "S": _replace(_RESPONSE, (224, 7), (232, 3)),
    "Z": _replace(_RESPONSE, (224, 7), (235, 3)),
    "O": _replace(_RESPONSE, (224, 7), (250, 3)),
    "M": _replace(_REQUEST, (240, 7), (256, 3)),
    "P": _replace(_REQUEST, (264, 5), (272, 4)),
    "G": f"(drop (call $add {_MAP} {_text(176, 3)} {_text(280, 3)}))",
    "I": f"(drop (call $add {_MAP} {_text(176, 3)} {_text(284, 6)}))",
    "H": f"(drop (call $add {_REQUEST} {_text(292, 4)} {_text(216, 2)}))",
    "g": _replace(_MAP, (300, 14), (316, 2)),
    "d": f"(drop (call $remove {_MAP} {_text(300, 14)}))",
    "N": "(local.set $n (i32.const 0)) (loop $more (drop (call $add"
    f" {_MAP} {_text(176, 3)} {_text(216, 2)}))"
    " (local.set $n (i32.add (local.get $n) (i32.const 1)))"
    " (br_if $more (i32.lt_u (local.get $n) (i32.const 10000))))",
    # Higress: pieces of body of its own, the second the last.
    "i": f"(drop (call $inject {_text(192, 5)} (i32.const 0)))",
    "E": f"(drop (call $inject {_text(200, 6)} (i32.const 1)))",
    # What only blocks: another function's state, which a test holds up.
    "s": "(drop (call $state (i32.const 320) (i32.const 10) (i32.const 320) (i32.const 10)"
    " (i32.const 8) (i32.const 12)))",
}

_CALLBACKS = {
    "proxy_on_request_headers": (3, True),
    "proxy_on_request_body": (3, True),
    "proxy_on_request_trailers": (2, True),
    "proxy_on_response_headers": (3, True),
    "proxy_on_response_body": (3, True),
    "proxy_on_response_trailers": (2, True),
    "proxy_on_done": (1, True),
    "proxy_on_log": (1, False),
    "proxy_on_delete": (1, False),
}
_DATA = {
    176: "x-?",
    192: "local",
    200: "second",
    208: "mine",
    216: "on",
    224: ":status",
    232: "204",
    235: "9x9",
    240: ":method",
    250: "101",
    256: "B D",
    264: ":path",
    272: "/b d",
    280: "a\\01b",
    284: "a\\0d\\0ab:c",
    292: "host",
    300: "content-length",
    316: "77",
    320: "state_demo",
}
_IMPORTS = {
    "log": ("proxy_log", 3),
    "header": ("proxy_get_header_map_value", 5),
    "add": ("proxy_add_header_map_value", 5),
    "replace": ("proxy_replace_header_map_value", 5),
    "remove": ("proxy_remove_header_map_value", 3),
    "set": ("proxy_set_buffer_bytes", 5),
    "get": ("proxy_get_buffer_bytes", 5),
    "local": ("proxy_send_local_response", 8),
    "continue": ("proxy_continue_stream", 1),
    "close": ("proxy_close_stream", 1),
    "effective": ("proxy_set_effective_context", 1),
}


@cache
def filter_module(
    start: str = "",
    blocking: bool = False,
    without: tuple[str, ...] = (),
    higress: bool = False,
) -> bytes:
    """The filter, as a module.

    Args:
        start: Instructions of `proxy_on_configure`.
        blocking: Whether it imports what makes it run in a thread; the letter `s` needs it.
        without: Callbacks that it does not export.
        higress: Whether it speaks Higress's ABI; the letters `i` and `E` need that.
    """
    imports = dict(_IMPORTS)
    letters = dict(OPERATIONS)
    if blocking:
        imports["state"] = ("proxy_get_state", 6)
    else:
        del letters["s"]
    if higress:
        imports["inject"] = ("proxy_inject_encoded_data_to_filter_chain", 3)
    else:
        del letters["i"], letters["E"]
    declared = "\n".join(
        f'(import "env" "{name}" (func ${short}{" (param i32)" * count} (result i32)))'
        for short, (name, count) in imports.items()
    )
    operations = "\n".join(
        f"(if (i32.eq (local.get $op) (i32.const {ord(letter)})) (then {code}))"
        for letter, code in letters.items()
    )
    parts = []
    for phase, (name, (arity, answers)) in enumerate(_CALLBACKS.items(), 1):
        if name in without:
            continue
        short = name.removeprefix("proxy_on_")
        last = "(local.get 2)" if arity == 3 else "(i32.const 0)"
        run = (
            f"(call $say {_text(1024 + 64 * phase, len(short))} (local.get 0))"
            f" (call $run (i32.const {48 + phase}) (i32.const {int(phase in (4, 5, 6))})"
            f" (local.get 0) {last})"
        )
        if phase == 1:
            run = "(call $learn (local.get 0))" + run
        result = " (result i32)" if answers else ""
        if name == "proxy_on_done":
            run = f"{run} drop (i32.const 1)"
        elif not answers:
            run += " drop"
        parts.append(
            f'(data (i32.const {1024 + 64 * phase}) "{short} 000")'
            f'(func (export "{name}"){" (param i32)" * arity}{result} {run})'
        )
    data = "\n".join(f'(data (i32.const {at}) "{text}")' for at, text in _DATA.items())
    digits = "".join(
        f"(i32.store8 (i32.add (local.get $at) (i32.add (local.get $size) (i32.const {place})))"
        f" (i32.add (i32.const 48) (i32.rem_u (i32.div_u (local.get $context)"
        f" (i32.const {10 ** (3 - place)})) (i32.const 10))))"
        for place in (1, 2, 3)
    )
    text = f"""(module
{declared}
(memory (export "memory") 8)
(global $heap (mut i32) (i32.const 131072))
(global $paused (mut i32) (i32.const 0))
(func (export "proxy_abi_version_0_2_1{"00" if higress else ""}"))
{data}
(func (export "malloc") (param $size i32) (result i32)
  (local $at i32)
  (if (i32.gt_u (i32.add (global.get $heap) (local.get $size)) (i32.const 520000))
    (then (global.set $heap (i32.const 131072))))
  (local.set $at (global.get $heap))
  (global.set $heap (i32.add (local.get $at) (local.get $size)))
  (local.get $at))
(func (export "proxy_on_configure") (param i32 i32) (result i32)
  (drop (call $get (i32.const 7) (i32.const 0) (i32.const 1) (i32.const 8) (i32.const 12)))
  (i32.store8 (i32.const 178) (i32.load8_u (i32.load (i32.const 8))))
  {start}
  (i32.const 1))
(func $say (param $at i32) (param $size i32) (param $context i32)
  {digits}
  (drop (call $log (i32.const 2) (local.get $at) (i32.add (local.get $size) (i32.const 4)))))
(func $place (param $context i32) (result i32)
  (i32.add (i32.const 65536) (i32.mul (i32.rem_u (local.get $context) (i32.const 256))
    (i32.const 128))))
(func $learn (param $context i32)
  (local $to i32)
  (local.set $to (call $place (local.get $context)))
  (i32.store (local.get $to) (i32.const 0))
  (if (i32.eqz (call $header (i32.const 0) (i32.const 176) (i32.const 3) (i32.const 8)
      (i32.const 12)))
    (then
      (i32.store (local.get $to) (i32.load (i32.const 12)))
      (memory.copy (i32.add (local.get $to) (i32.const 4)) (i32.load (i32.const 8))
        (i32.load (i32.const 12))))))
(func $run (param $phase i32) (param $buffer i32) (param $context i32) (param $last i32)
  (result i32)
  (local $at i32) (local $end i32) (local $op i32) (local $on i32) (local $n i32)
  (local.set $at (call $place (local.get $context)))
  (local.set $end (i32.add (i32.add (local.get $at) (i32.const 4)) (i32.load (local.get $at))))
  (local.set $at (i32.add (local.get $at) (i32.const 4)))
  (block $out (loop $next
    (br_if $out (i32.ge_u (local.get $at) (local.get $end)))
    (local.set $op (i32.load8_u (local.get $at)))
    (local.set $at (i32.add (local.get $at) (i32.const 1)))
    (if (i32.lt_u (i32.sub (local.get $op) (i32.const 49)) (i32.const 9))
      (then (local.set $on (i32.eq (local.get $op) (local.get $phase)))))
    (if (local.get $on) (then {operations}))
    (br $next)))
  (i32.const 0))
{"".join(parts)})"""
    return bytes(wasmtime.wat2wasm(text))


# --- upstreams -----------------------------------------------------------------------------------


class Head:
    """A request as an upstream reads it."""

    def __init__(self, text: bytes) -> None:
        lines = text.decode("latin-1").split("\r\n")
        self.line = lines[0]
        self.headers = [
            (n.lower(), v.strip()) for n, _, v in (li.partition(":") for li in lines[1:])
        ]

    def values(self, name: str) -> list[str]:
        return [value for key, value in self.headers if key == name]


class Wire:
    """One connection, read piece by piece."""

    def __init__(self, connection: socket.socket) -> None:
        connection.settimeout(PATIENCE)
        self.socket = connection
        self._rest = b""

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)

    def until(self, end: bytes) -> bytes:
        """What comes before `end`; the empty bytes where the connection ends."""
        while end not in self._rest:
            more = self.socket.recv(65536)
            if not more:
                return b""
            self._rest += more
        found, _, self._rest = self._rest.partition(end)
        return found

    def exactly(self, size: int) -> bytes:
        while len(self._rest) < size:
            more = self.socket.recv(65536)
            if not more:
                raise ConnectionResetError("the connection ended early")
            self._rest += more
        found, self._rest = self._rest[:size], self._rest[size:]
        return found

    def skip(self, size: int) -> None:
        """Read so much, and keep nothing."""
        found, self._rest = len(self._rest[:size]), self._rest[size:]
        size -= found
        while size:
            more = len(self.socket.recv(min(size, 1 << 20)))
            if not more:
                raise ConnectionResetError("the connection ended early")
            size -= more

    def rest(self) -> bytes:
        """Everything up to the end of the connection."""
        found, self._rest = self._rest, b""
        with contextlib.suppress(ConnectionResetError):
            while more := self.socket.recv(65536):
                found += more
        return found

    def head(self) -> Head | None:
        text = self.until(b"\r\n\r\n")
        return Head(text) if text else None

    def body(self, head: Head) -> tuple[bytes, list[str]]:
        """The body after a head, and the lines of its trailers."""
        if head.values("content-length"):
            return self.exactly(int(head.values("content-length")[0])), []
        if head.values("transfer-encoding") != ["chunked"]:
            return b"", []
        body = b""
        while size := self._chunk():
            body += self.exactly(size)
            self.exactly(2)
        trailers = []
        while line := self.until(b"\r\n"):
            trailers.append(line.decode())
        return body, trailers

    def _chunk(self) -> int:
        line = self.until(b"\r\n")
        if not line:
            raise ConnectionResetError("the connection ended early")
        return int(line, 16)

    def skip_body(self, head: Head) -> int:
        """Read the body after a head, and keep only its length."""
        if head.values("content-length"):
            total = int(head.values("content-length")[0])
            self.skip(total)
            return total
        total = 0
        while size := self._chunk():
            self.skip(size + 2)
            total += size
        return total

    def answer(self) -> tuple[Head, bytes, list[str]]:
        """One whole response."""
        head = self.head()
        assert head is not None, "the connection ended"
        return (head, *self.body(head))


class Upstream:
    """A server; each connection is served by `serve` in a thread of its own."""

    def __init__(self, serve: Callable[[Wire], None]) -> None:
        self._serve = serve
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listening.getsockname()[1]
        self.errors: list[BaseException] = []
        self._open: list[socket.socket] = []
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listening.accept()
            except OSError:
                return
            self._open.append(connection)
            self._threads.append(threading.Thread(target=self._run, args=(connection,)))
            self._threads[-1].start()

    def _run(self, connection: socket.socket) -> None:
        with connection:
            try:
                self._serve(Wire(connection))
            except (ConnectionError, OSError):
                pass  # clients go away in these tests
            except BaseException as error:
                self.errors.append(error)

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        self._threads[0].join()
        for connection in self._open:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        for thread in self._threads[1:]:
            thread.join()
        assert self.errors == []


def echo(wire: Wire) -> None:
    """Answer with request line, headers and body, one to a line; keep the connection."""
    while (head := wire.head()) is not None:
        body, trailers = wire.body(head)
        lines = [head.line, *(f"{name}: {value}" for name, value in head.headers)]
        text = "\n".join([*lines, "", body.decode("latin-1"), *trailers]).encode("latin-1")
        if head.line.startswith("HEAD "):
            wire.send(b"HTTP/1.1 200 OK\r\ncontent-length: 7\r\n\r\n")
        else:
            wire.send(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%b" % (len(text), text))


# --- servers -------------------------------------------------------------------------------------


class GuestLog(logging.Handler):
    """What the filters said: `(filter, callback, context)`."""

    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self.lines: list[tuple[str, str, int]] = []

    def emit(self, record: logging.LogRecord) -> None:
        found = re.search(r"\b([a-z]): ([a-z_]+) (\d{3})$", record.getMessage())
        if found:
            self.lines.append((found[1], found[2], int(found[3])))

    def said(self, name: str) -> list[str]:
        return [callback for who, callback, _ in self.lines if who == name]

    def lives(self) -> dict[tuple[str, int], list[str]]:
        """The callbacks of each stream context, in order."""
        lives: dict[tuple[str, int], list[str]] = {}
        for who, callback, context in tuple(self.lines):
            if context == 1:
                continue  # the root context of the only plugin in its guest
            lives.setdefault((who, context), []).append(callback)
        return lives

    def ended_once(self) -> bool:
        """Whether every stream context was done, logged and deleted, once and in this order.

        Answers reach their clients before that.
        """
        end = time.monotonic() + PATIENCE
        while not all(life[-3:] == _LAST for life in self.lives().values()):
            if time.monotonic() > end:
                return False
            time.sleep(0.005)
        return all(
            [step for step in life if step in _LAST] == _LAST for life in self.lives().values()
        )


class Chained:
    """A server with a chain of filters, one letter each, in front of an upstream."""

    def __init__(self, running: Any, log: GuestLog) -> None:
        self.running = running
        self.log = log
        self.wires: list[Wire] = []

    @property
    def place(self) -> tuple[str, int]:
        place: tuple[str, int] = self.running.place()
        return place

    def ask(self, target: str = "/", **options: Any) -> Any:
        return self.running.ask(target, **options)

    def wire(self) -> Wire:
        self.wires.append(Wire(socket.create_connection(self.place, PATIENCE)))
        return self.wires[-1]

    def send(self, head: str, body: bytes = b"") -> Wire:
        """Send a request as raw text on a connection of its own."""
        wire = self.wire()
        wire.send(head.replace("\n", "\r\n").encode("latin-1") + b"\r\n\r\n" + body)
        return wire

    def pool(self, name: str = "a") -> Any:
        return self.running.server.manager.get(name).plugin.filters

    def streams(self, name: str = "a") -> int:
        """Streams bound to the filter's instances."""
        return sum(slot.streams for slot in self.pool(name).slots)


@pytest.fixture
def upstream() -> Iterator[Callable[..., Upstream]]:
    """Start upstreams: `upstream(serve)`."""
    started: list[Upstream] = []

    def start(serve: Callable[[Wire], None] = echo) -> Upstream:
        started.append(Upstream(serve))
        return started[-1]

    yield start
    for item in started:
        item.close()


@pytest.fixture
def chained(
    serving: Callable[..., Any], upstream: Callable[..., Upstream], tmp_path: Path
) -> Iterator[Callable[..., Chained]]:
    """Start servers: `chained("abc", serve)`; at the end every context must have ended once."""
    log = GuestLog()
    logger = logging.getLogger("anywasm")
    level = logger.level
    logger.setLevel(logging.INFO)
    logger.addHandler(log)
    modules: dict[bytes, Path] = {}
    started: list[Chained] = []

    def start(
        names: str = "a",
        serve: Callable[[Wire], None] = echo,
        *,
        module: bytes | None = None,
        engine: str = "wasmtime",
        plugin: dict[str, Any] | None = None,
        vm: dict[str, Any] | None = None,
        route: dict[str, Any] | None = None,
        stores: dict[str, Any] | None = None,
        **listener: Any,
    ) -> Chained:
        content = filter_module() if module is None else module
        path = modules.setdefault(content, tmp_path / f"filter-{len(modules)}.wasm")
        path.write_bytes(content)
        plugins = [
            {
                "name": name,
                "plugin_config": name,
                "vm_config": {"engine": engine, "path": str(path), **(vm or {})},
                **(plugin or {}),
            }
            for name in names
        ]
        direct = {"body": "direct", "headers": {"x-direct": "yes"}}
        settings = {
            "listeners": [
                {
                    "name": "main",
                    "address": "127.0.0.1:0",
                    "filters": list(names),
                    "routes": [
                        {"prefix": "/direct", "direct_response": direct},
                        {"prefix": "/", "cluster": "up", **(route or {})},
                    ],
                    **listener,
                }
            ],
            "clusters": [{"name": "up", "endpoints": [f"127.0.0.1:{upstream(serve).port}"]}],
            "state_stores": stores or {},
        }
        started.append(Chained(serving(plugins, **settings), log))
        return started[-1]

    yield start
    for chain in started:
        for wire in chain.wires:
            wire.socket.close()
    logger.removeHandler(log)
    logger.setLevel(level)


class Box:
    """What tests cannot import from here."""

    PATIENCE = PATIENCE
    filter_module = staticmethod(filter_module)
    echo = staticmethod(echo)
    Head = Head
    Wire = Wire


@pytest.fixture
def box() -> type[Box]:
    return Box
