"""Every host call in every phase, and random requests, give the same trace on every engine, and
with the extension as without."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cache
from itertools import product
from typing import Any, ClassVar
from urllib.parse import unquote_to_bytes

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anywasm.abi.calls import GrpcEvents, GrpcTarget, HttpCall, HttpCallResponse
from anywasm.abi.enums import MapType, Status
from anywasm.abi.guest import Guest
from anywasm.abi.headers import PythonHeaderMap
from anywasm.abi.host import HostServices
from anywasm.abi.pairs import Pair, encode_pairs
from anywasm.abi.plugin import PluginIdentity
from anywasm.abi.table import HOST_FUNCTIONS
from anywasm.core.module import Module
from anywasm.core.registry import engine_statuses, get_wasm_engine
from anywasm.engines.null.library import export, register_guest
from anywasm.sdk.guests import guest_bytes
from anywasm.testing.null_filter import HostCallError, NullFilter
from anywasm.testing.trace import Message, Step, Tracer

# --- the guest `hostcalls` in Python -------------------------------------------------------------

NAMES = tuple(sorted(
    name for name, function in HOST_FUNCTIONS.items()
    if function.versions in (None, {"0.2.1"}, {"0.2.0", "0.2.1"}) and not function.blocking
))  # fmt: skip


def _callback(phase: str, arity: int, answer: int | None) -> Any:
    def callback(self: Any, *args: int) -> int | None:
        result = self.on(phase, args, answer or 0)
        return None if answer is None else int(result)

    result = " i32" if answer is not None else ""
    return export(f"{'i32 ' * arity}->{result}", name=f"proxy_on_{phase}")(callback)


class PythonHostcalls(NullFilter):
    """What `sdk/c/examples/hostcalls.c` does."""

    host_functions: ClassVar[tuple[str, ...]] = NAMES
    script = ""
    vm_script = ""

    @export("i32 i32 -> i32")
    def proxy_on_vm_start(self, context: int, size: int) -> int:
        self.vm_script = self.buffer(6).decode()  # type: ignore[arg-type]
        plugins, self.script = self.script, self.vm_script
        answer = self.on("vm_start", (context, size), 1)
        self.script = plugins
        return int(bool(answer))

    @export("i32 i32 -> i32")
    def proxy_on_configure(self, context: int, size: int) -> int:
        self.script = self.buffer(7).decode()  # type: ignore[arg-type]
        return int(bool(self.on("configure", (context, size), 1)))

    @export("i32 -> i32")
    def proxy_on_done(self, context: int) -> int:
        return int(bool(self.on("done", (context,), 1)))

    proxy_on_context_create = _callback("context_create", 2, None)
    proxy_on_tick = _callback("tick", 1, None)
    proxy_on_request_headers = _callback("request_headers", 3, 0)
    proxy_on_request_body = _callback("request_body", 3, 0)
    proxy_on_request_trailers = _callback("request_trailers", 2, 0)
    proxy_on_response_headers = _callback("response_headers", 3, 0)
    proxy_on_response_body = _callback("response_body", 3, 0)
    proxy_on_response_trailers = _callback("response_trailers", 2, 0)
    proxy_on_queue_ready = _callback("queue_ready", 2, None)
    proxy_on_http_call_response = _callback("http_call_response", 5, None)
    proxy_on_grpc_receive = _callback("grpc_receive", 3, None)
    proxy_on_log = _callback("log", 1, None)
    proxy_on_delete = _callback("delete", 1, None)

    def say(self, line: bytes) -> None:
        self.call("proxy_log", 2, line[:4096])

    def on(self, phase: str, args: tuple[int, ...], answer: int) -> int:
        self.say(" ".join([phase, *map(str, args)]).encode())
        for line in self.script.split("\n"):
            where, _, command = line.partition(" ")
            if where != phase:
                continue
            name, *words = command.split(" ")
            if name == "return":
                answer = int(words[0])
            else:
                self.run(name, words)
        return answer

    def run(self, name: str, words: list[str]) -> None:
        signature = HOST_FUNCTIONS[name].signature
        values: list[int | bytes] = []
        for index, kind in enumerate(signature.inputs):
            word = words[index] if index < len(words) else ""
            data = unquote_to_bytes(word.replace("+", " "))
            values.append(data if kind == "data" else int(word or 0))
        try:
            result = self.call(name, *values)
        except HostCallError as error:
            self.say(f"{name} = {int(error.status)}".encode())
            return
        results = result if isinstance(result, tuple) else () if result is None else (result,)
        told = [b"[" + r + b"]" if isinstance(r, bytes) else b"%d" % r for r in results]
        self.say(b" ".join([f"{name} = 0".encode(), *told]))


class PythonWrapBody(NullFilter):
    """What `sdk/c/examples/wrap_body.c` does."""

    host_functions: ClassVar[tuple[str, ...]] = (
        "proxy_remove_header_map_value",
        "proxy_replace_header_map_value",
        "proxy_set_buffer_bytes",
    )

    def _open(self, headers: int, end: int) -> int:
        if not end:
            self.call("proxy_remove_header_map_value", headers, b"content-length")
        return 0

    def _wrap(self, body: int) -> int:
        self.call("proxy_set_buffer_bytes", body, 0, 0, b"[")
        self.call("proxy_set_buffer_bytes", body, 0x7FFFFFFF, 0, b"]")
        return 0

    def _close(self, body: int, trailers: int) -> int:
        self._wrap(body)
        self.call("proxy_replace_header_map_value", trailers, b"x-anywasm", b"trailers")
        return 0

    @export("i32 i32 i32 -> i32")
    def proxy_on_request_headers(self, context: int, count: int, end: int) -> int:
        return self._open(MapType.HTTP_REQUEST_HEADERS, end)

    @export("i32 i32 i32 -> i32")
    def proxy_on_response_headers(self, context: int, count: int, end: int) -> int:
        return self._open(MapType.HTTP_RESPONSE_HEADERS, end)

    @export("i32 i32 i32 -> i32")
    def proxy_on_request_body(self, context: int, size: int, end: int) -> int:
        return self._wrap(0) if end else 1

    @export("i32 i32 i32 -> i32")
    def proxy_on_response_body(self, context: int, size: int, end: int) -> int:
        return self._wrap(1) if end else 1

    @export("i32 i32 -> i32")
    def proxy_on_request_trailers(self, context: int, count: int) -> int:
        return self._close(0, MapType.HTTP_REQUEST_TRAILERS)

    @export("i32 i32 -> i32")
    def proxy_on_response_trailers(self, context: int, count: int) -> int:
        return self._close(1, MapType.HTTP_RESPONSE_TRAILERS)


# --- the stage -----------------------------------------------------------------------------------


@dataclass
class World:
    """A host with everything, all of which answers at once and the same each time."""

    lines: list[str] = field(default_factory=list)
    pending: list[Callable[[], None]] = field(default_factory=list)

    def cancel(self) -> None:
        """Nothing to do: whoever answers late is dropped."""

    def call_later(self, seconds: float, callback: Callable[[], None]) -> World:
        self.pending.append(callback)
        return self

    def services(self) -> HostServices:
        return HostServices(
            log=lambda level, plugin, line: self.lines.append(line),
            http=_Http(self),
            grpc=_Grpc(self),
            timers=self,
            realtime=lambda: 1_700_000_000_000_000_000,
        )

    def settle(self) -> None:
        """Whatever has been asked for comes."""
        pending, self.pending = self.pending, []
        for callback in pending:
            callback()


@dataclass
class _Http:
    world: World

    def call(self, call: HttpCall, on_response: Callable[[HttpCallResponse], None]) -> World:
        response = HttpCallResponse(((b":status", b"200"),), b"answer", ((b"t", b"1"),))
        self.world.pending.append(lambda: on_response(response))
        return self.world


@dataclass
class _Grpc:
    world: World

    def call(
        self, target: GrpcTarget, message: bytes, timeout: float | None, events: GrpcEvents
    ) -> World:
        self.world.pending.append(lambda: events.on_message(b"message"))
        return self.world

    def stream(self, target: GrpcTarget, events: GrpcEvents) -> Any:
        return None


@cache
def engines() -> tuple[str, ...]:
    return tuple(s.name for s in engine_statuses() if s.vm is not None)


@cache
def module(engine: str, name: str) -> Module:
    vm = get_wasm_engine(engine)
    return vm.compile(guest_bytes(name) if vm.capabilities.wasm else f"matrix_{name}".encode())


@pytest.fixture(scope="module", autouse=True)
def python_guests() -> Iterator[None]:
    """Lets the null engine find both guests."""
    register_guest("matrix_hostcalls", PythonHostcalls)
    register_guest("matrix_wrap_body", PythonWrapBody)
    yield
    module.cache_clear()


REQUEST = Message(
    ((b":method", b"POST"), (b":path", b"/p?q"), (b":authority", b"a"), (b"x", b"1"), (b"x", b"2")),
    (b"first", b"second"),
    ((b"t", b"1"),),
)
RESPONSE = Message(((b":status", b"200"), (b"y", b"1")), (b"answer",), ((b"u", b"2"),))


def trace(engine: str, name: str, identity: PluginIdentity, *messages: Message) -> list[Any]:
    """Everything that the guest did and said on that engine."""
    world = World()
    guest = Guest(module(engine, name), identity, world.services())
    try:
        root = guest.create_root(identity)
        world.settle()
        steps: list[Step] = Tracer(root).play(*(messages or (REQUEST, RESPONSE)))
        world.settle()
    finally:
        guest.close()
    return [*steps, *world.lines]


def assert_same(name: str, identity: PluginIdentity, *messages: Message) -> list[Any]:
    """The trace, which all engines agree on, with the extension and without."""
    first, *others = engines()
    expected = trace(first, name, identity, *messages)
    for engine in others:
        assert trace(engine, name, identity, *messages) == expected, engine
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("anywasm.abi.binding.native", None)
        patch.setattr("anywasm.abi.guest.native", None)
        patch.setattr("anywasm.testing.trace.HeaderMap", PythonHeaderMap)
        assert trace(first, name, identity, *messages) == expected, "without the extension"
    return expected


# --- every call in every phase -------------------------------------------------------------------

HEAD = "".join(
    f"%{byte:02x}"
    for byte in encode_pairs([(b":method", b"GET"), (b":path", b"/"), (b":authority", b"a")])
)
COMMANDS = (
    "proxy_log 4 some+text",
    "proxy_log 6 x",
    "proxy_get_log_level",
    "proxy_get_current_time_nanoseconds",
    *(f"proxy_get_buffer_bytes {kind} 1 4" for kind in (*range(9), 99)),
    *(f"proxy_get_buffer_status {kind}" for kind in (0, 1, 4, 6, 7, 99)),
    *(f"proxy_set_buffer_bytes {kind} 0 0 x" for kind in (*range(9), 99)),
    "proxy_set_buffer_bytes 0 1 1 x",
    *(f"proxy_get_header_map_size {kind}" for kind in (*range(8), 99)),
    *(f"proxy_get_header_map_pairs {kind}" for kind in (*range(8), 99)),
    *(f"proxy_get_header_map_value {kind} X" for kind in (*range(8), 99)),
    *(f"proxy_add_header_map_value {kind} new v" for kind in (*range(8), 99)),
    *(f"proxy_replace_header_map_value {kind} x v" for kind in (0, 2, 3, 99)),
    *(f"proxy_remove_header_map_value {kind} x" for kind in (0, 2, 3, 99)),
    f"proxy_set_header_map_pairs 0 {HEAD}",
    "proxy_set_header_map_pairs 2 %01",
    "proxy_get_status",
    "proxy_send_local_response 403 why body  -1",
    "proxy_send_local_response 100 why body  -1",
    *(f"proxy_continue_stream {kind}" for kind in (0, 1, 2, 9)),
    *(f"proxy_close_stream {kind}" for kind in (2, 9)),
    f"proxy_http_call up {HEAD} body  100",
    "proxy_http_call up  body  100",
    "proxy_grpc_call up svc m  message 100",
    "proxy_grpc_stream up svc m ",
    "proxy_grpc_send 6 x 1",
    "proxy_grpc_cancel 5",
    "proxy_grpc_close 6",
    "proxy_set_shared_data k v 7",
    "proxy_get_shared_data k",
    "proxy_register_shared_queue q",
    "proxy_resolve_shared_queue  q",
    "proxy_enqueue_shared_queue 1 item",
    "proxy_dequeue_shared_queue 1",
    *(f"proxy_define_metric {kind} m" for kind in range(4)),
    *(f"proxy_record_metric {metric} 18446744073709551615" for metric in (4, 9, 14, 99)),
    *(f"proxy_increment_metric {metric} -3" for metric in (4, 9, 14, 99)),
    *(f"proxy_get_metric {metric}" for metric in (4, 9, 14, 99)),
    "proxy_get_property request%00path",
    "proxy_get_property plugin_name",
    "proxy_get_property ",
    "proxy_set_property k v",
    "proxy_get_property k",
    "proxy_call_foreign_function sha256 x",
    "proxy_call_foreign_function compress x",
    "proxy_call_foreign_function nothing x",
    "proxy_set_tick_period_milliseconds 5",
    "proxy_done",
    *(f"proxy_set_effective_context {number}" for number in (1, 2, 99)),
    "proxy_get_header_map_value 0 x",
)
PHASES = (
    "vm_start", "configure", "context_create", "request_headers", "request_body",
    "request_trailers", "response_headers", "response_body", "response_trailers", "tick",
    "queue_ready", "http_call_response", "done", "log", "delete",
)  # fmt: skip
#: What brings the phases that do not come by themselves.
CAUSES = {
    "tick": "configure proxy_set_tick_period_milliseconds 5\n"
    "tick proxy_set_tick_period_milliseconds 0",
    "queue_ready": "configure proxy_register_shared_queue q\n"
    "configure proxy_enqueue_shared_queue 1 x",
    "http_call_response": f"configure proxy_http_call up {HEAD} body  100",
}  # fmt: skip
FUNCTIONS = sorted({command.split(" ")[0] for command in COMMANDS})


def test_the_list_of_commands_leaves_out_no_function() -> None:
    assert list(NAMES) == FUNCTIONS


@pytest.mark.parametrize("phase", PHASES)
def test_every_call_answers_alike_on_every_engine(phase: str) -> None:
    commands = [c for c in COMMANDS if phase != "queue_ready" or "enqueue" not in c]
    script = "\n".join(f"{phase} {command}" for command in commands)
    identity = PluginIdentity(
        "matrix",
        vm_id="vm",
        configuration=f"{CAUSES.get(phase, '')}\n{'' if phase == 'vm_start' else script}".encode(),
        vm_configuration=script.encode() if phase == "vm_start" else b"",
    )
    seen = assert_same("hostcalls", identity)
    said = [line for line in seen if isinstance(line, str)]
    answered = {line.split(" ")[0] for line in said if " = " in line}
    assert answered >= set(FUNCTIONS) - {"proxy_enqueue_shared_queue"}
    assert not any(step[0] == "failed" for step in seen if isinstance(step, tuple))


@pytest.mark.parametrize(
    ("phase", "action"),
    [*product([p for p in PHASES if p.startswith("re")], [0, 1, 2, 3, 4, 99, -1])],
)
def test_every_action_is_told_alike(phase: str, action: int) -> None:
    identity = PluginIdentity("matrix", configuration=f"{phase} return {action}".encode())
    steps = assert_same("hostcalls", identity)
    assert next(step for step in steps if step[0] == phase)[-3] == action & 0xFFFFFFFF


def test_a_trap_is_told_alike() -> None:
    first = engines()[0]
    identity = PluginIdentity("matrix", configuration=b"request_body nothing")
    assert ("failed", "TrapError") in trace(first, "hostcalls", identity)
    for engine in engines()[1:]:
        assert ("failed", "TrapError") in trace(engine, "hostcalls", identity)


def test_statuses_are_told_by_the_specifications_numbers() -> None:
    identity = PluginIdentity("matrix", configuration=b"configure proxy_get_shared_data k")
    assert f"proxy_get_shared_data = {int(Status.NOT_FOUND)}" in assert_same("hostcalls", identity)


# --- random requests -----------------------------------------------------------------------------

NAME = st.from_regex(rb"[a-z][a-z0-9-]{0,8}", fullmatch=True) | st.just(b"content-length")
FIELDS = st.lists(st.tuples(NAME, st.binary(max_size=12)), max_size=6).map(tuple)
BODY = st.lists(st.binary(max_size=2000), max_size=5).map(tuple)
MESSAGE = st.builds(Message, FIELDS, BODY, FIELDS)


def wrapped(message: Message) -> tuple[tuple[Pair, ...], bytes, tuple[Pair, ...] | None]:
    """What comes out of the filter, by what it promises."""
    ends = not message.chunks and not message.trailers
    headers = [p for p in message.headers if ends or p[0] != b"content-length"]
    body = b"".join(message.chunks)
    if not ends:
        body = b"[" + body + b"]"
    trailers = [*message.trailers]
    if trailers:
        first = next((i for i, p in enumerate(trailers) if p[0] == b"x-anywasm"), len(trailers))
        rest = [p for p in trailers[first + 1 :] if p[0] != b"x-anywasm"]
        trailers = [*trailers[:first], (b"x-anywasm", b"trailers"), *rest]
    return tuple(headers), body, tuple(trailers) or None


@settings(max_examples=60)
@given(request=MESSAGE, response=MESSAGE)
def test_random_bodies_come_out_wrapped_and_alike(request: Message, response: Message) -> None:
    steps = assert_same("wrap_body", PluginIdentity("wrap"), request, response)
    for name, message in (("request", request), ("response", response)):
        headers, body, trailers = wrapped(message)
        assert (f"{name}_headers_sent", headers) in steps
        assert b"".join(step[1] for step in steps if step[0] == f"{name}_data") == body
        sent = [step[1] for step in steps if step[0] == f"{name}_trailers_sent"]
        assert sent == ([trailers] if trailers else [])
