"""Function calls, phase by phase."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable
from typing import Any

import pytest

from anywasm.core.registry import get_wasm_engine
from anywasm.plugins.errors import FunctionFailedError, FunctionTimeoutError
from anywasm.plugins.function import FunctionStream

MakeGuest = Callable[..., bytes]
Later = Callable[..., Any]

SHORT = {"request": 0.2, "call": 0.1, "lease": 0.1}


def until(ready: Callable[[], bool]) -> None:
    """Wait for something that another thread does."""
    end = time.monotonic() + 20
    while not ready():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.002)


def paused(pool: Any) -> bool:
    """Whether a stream has paused, so that its instance is free again."""
    return bool(pool.idle == pool.size and sum(slot.streams for slot in pool.slots))


def test_a_request_passes_all_callbacks_and_ends(stage: Any) -> None:
    stage.add()
    response = stage.ask("", "a", body=b"body", trailers=True, id="f")
    assert (response.status, response.body) == (200, b"okok")
    assert response.headers == ((b"content-type", b"text/plain; charset=utf-8"),)
    assert stage.said == [
        *("context_create", "vm_start", "configure", "context_create"),
        *("request_headers", "request_body", "request_trailers"),
        *("response_headers", "response_body", "done", "log", "delete"),
    ]


def test_the_body_reaches_the_guest(stage: Any) -> None:
    stage.add()
    assert stage.ask("c", "g", body=b"some \0 body").body == b"some \0 body"


def test_an_explicit_nothing_is_204(stage: Any) -> None:
    stage.add()
    response = stage.ask("e")
    assert (response.status, response.body, response.headers) == (204, b"", ())
    assert "response_body" not in stage.said


def test_no_answer_is_a_failure(stage: Any) -> None:
    stage.add()
    with pytest.raises(FunctionFailedError, match="gave no answer") as caught:
        stage.ask("c", "c", body=b"b")
    assert caught.value.plugin == "plugin"
    assert stage.said[-3:] == ["done", "log", "delete"]
    assert stage.ask("a").body == b"ok"


@pytest.mark.parametrize("status", ["404", "299", "500"])
def test_the_guest_chooses_its_status(stage: Any, status: str) -> None:
    stage.add()
    assert stage.ask("as", status=status).status == int(status)


@pytest.mark.parametrize("status", ["0", "99", "199", "20", "2000", "abc", ""])
def test_a_status_that_cannot_be_is_a_failure(stage: Any, status: str) -> None:
    stage.add()
    with pytest.raises(FunctionFailedError, match="gave the status"):
        stage.ask("as", status=status)


def test_a_local_response_of_status_0_is_a_failure(stage: Any) -> None:
    stage.add()
    with pytest.raises(FunctionFailedError, match="gave the status b'0'"):
        stage.ask("z")


PHASES: dict[str, tuple[tuple[str, ...], dict[str, Any]]] = {
    "request_headers": (("{}",), {}),
    "request_body": (("c", "{}"), {"body": b"b"}),
    "request_trailers": (("c", "c", "{}"), {"body": b"b", "trailers": True}),
    "response_headers": (("a", "", "", "{}"), {}),
    "response_body": (("a", "", "", "", "{}"), {}),
}


def scripts(phase: str, script: str) -> tuple[tuple[str, ...], dict[str, Any]]:
    steps, more = PHASES[phase]
    return tuple(step.format(script) for step in steps), more


@pytest.mark.parametrize("phase", PHASES)
@pytest.mark.parametrize("script", ["lc", "lp", "lLc"])
def test_a_local_response_answers_from_every_phase(stage: Any, phase: str, script: str) -> None:
    stage.add()
    steps, more = scripts(phase, script)
    response = stage.ask(*steps, **more)
    assert (response.status, response.body) == (201, b"local")
    assert stage.said[-3:] == ["done", "log", "delete"]


def test_a_local_response_ends_the_request_callbacks(stage: Any) -> None:
    stage.add()
    stage.ask("l", "t", "t", body=b"b", trailers=True)
    assert "request_body" not in stage.said
    assert "response_headers" in stage.said


def test_the_first_local_response_stays_also_in_the_response(stage: Any) -> None:
    stage.add()
    response = stage.ask("l", "", "", "L", "L")
    assert (response.status, response.body) == (201, b"local")


@pytest.mark.parametrize("phase", PHASES)
def test_a_trap_fails_its_request_and_no_other(stage: Any, phase: str) -> None:
    stage.add()
    steps, more = scripts(phase, "t")
    with pytest.raises(FunctionFailedError) as caught:
        stage.ask(*steps, **more)
    assert (caught.value.plugin, caught.value.phase) == ("plugin", f"on_{phase}")
    assert stage.ask("a").body == b"ok"
    until(lambda: stage.pool().idle == 1)
    assert stage.pool().replaced == 1


@pytest.mark.parametrize("name", ["on_done", "on_log", "on_delete"])
def test_a_trap_at_the_end_leaves_the_answer_and_costs_the_instance(
    stage: Any, make_guest: MakeGuest, name: str
) -> None:
    stage.add(wasm=make_guest(**{name: "unreachable"}))
    assert stage.ask("a").body == b"ok"
    until(lambda: stage.pool().replaced == 1)
    assert stage.ask("a").body == b"ok"


def test_a_trap_in_context_create_is_a_failure(stage: Any, make_guest: MakeGuest) -> None:
    fails = "(if (local.get 1) (then unreachable))"  # a stream has a parent, the root has none
    stage.add(wasm=make_guest(on_context_create=fails))
    for _ in range(2):
        with pytest.raises(FunctionFailedError) as caught:
            stage.ask("a")
        assert caught.value.phase == "context_create"


def test_closing_the_stream_is_a_failure(stage: Any) -> None:
    stage.add()
    with pytest.raises(FunctionFailedError, match="closed its stream"):
        stage.ask("ax")
    assert stage.ask("a").body == b"ok"


def test_a_guest_that_does_not_return_is_504_and_replaced(wasmtime_stage: Any) -> None:
    wasmtime_stage.add(timeouts={"call": 0.05})
    with pytest.raises(FunctionTimeoutError):
        wasmtime_stage.ask("b")
    assert wasmtime_stage.ask("a").body == b"ok"
    assert wasmtime_stage.pool().replaced == 1


# --- pauses --------------------------------------------------------------------------------------


@pytest.mark.parametrize("phase", PHASES)
def test_another_stream_resumes_a_pause(stage: Any, later: Later, phase: str) -> None:
    stage.add()
    steps, more = scripts(phase, "ap" if phase.startswith("request") else "p")
    if phase == "request_body":
        steps = ("c", "gp")
    first = later(stage.ask, *steps, **more)
    until(lambda: paused(stage.pool()))
    assert stage.ask("ar" if phase.startswith("request") else "aR").body == b"ok"
    response = first.result(20)
    assert response.status == 200
    assert response.body in (b"ok", b"b")
    assert all(not slot.streams for slot in stage.pool().slots)


@pytest.mark.parametrize("phase", PHASES)
def test_another_stream_answers_for_a_paused_one(stage: Any, later: Later, phase: str) -> None:
    stage.add()
    steps, more = scripts(phase, "p")
    first = later(stage.ask, *steps, **more)
    until(lambda: paused(stage.pool()))
    assert stage.ask("ak").body == b"ok"
    response = first.result(20)
    assert (response.status, response.body) == (201, b"local")


def test_action_2_is_continue_for_headers_and_pause_for_bodies(stage: Any) -> None:
    # ContinueAndEndStream of C++ guests, as Envoy was recorded to take it.
    stage.add(timeouts=SHORT)
    assert stage.ask("a2").body == b"ok"
    assert stage.ask("ac", "", "", "2").body == b"ok"
    with pytest.raises(FunctionTimeoutError, match="paused and nobody resumed it"):
        stage.ask("c", "a2", body=b"x")


def test_a_guest_that_continues_itself_does_not_pause(stage: Any) -> None:
    stage.add()
    assert stage.ask("aCp").body == b"ok"


@pytest.mark.parametrize("phase", PHASES)
def test_a_pause_that_nobody_ends_is_504(stage: Any, phase: str) -> None:
    stage.add(timeouts=SHORT)
    steps, more = scripts(phase, "p")
    with pytest.raises(FunctionTimeoutError, match="paused and nobody resumed it") as caught:
        stage.ask(*steps, **more)
    assert caught.value.phase == f"on_{phase}"
    assert stage.said[-3:] == ["done", "log", "delete"]
    assert stage.ask("a").body == b"ok"
    assert stage.pool().replaced == 0


def test_a_body_pause_before_trailers_waits_for_them(stage: Any) -> None:
    stage.add()
    assert stage.ask("c", "p", "g", body=b"whole", trailers=True).body == b"whole"


def test_a_trap_fails_paused_streams_at_once(stage: Any, later: Later) -> None:
    stage.add()
    streams = [later(stage.ask, "p") for _ in range(3)]
    until(lambda: sum(slot.streams for slot in stage.pool().slots) == 3)
    until(lambda: paused(stage.pool()))
    broken = stage.pool().slots[0]
    with pytest.raises(FunctionFailedError):
        stage.ask("t")
    for stream in streams:
        with pytest.raises(FunctionFailedError, match="the instance failed"):
            stream.result(20)
    until(lambda: broken.guest.instance.closed)
    assert broken.streams == 0
    assert stage.ask("a").body == b"ok"


def test_a_stream_that_is_dropped_does_not_touch_its_guest(wasmtime_stage: Any) -> None:
    wasmtime_stage.add()
    plugin = wasmtime_stage.manager.get("plugin").plugin
    request = wasmtime_stage.request("p")
    stream = wasmtime_stage.functions.try_inline(plugin, "f", request)
    assert isinstance(stream, FunctionStream)
    count = len(wasmtime_stage.lines)
    slot = stream.slot
    del stream
    gc.collect()
    assert len(wasmtime_stage.lines) == count
    slot.streams -= 1


def test_inline_calls_answer_pause_or_find_no_instance(wasmtime_stage: Any) -> None:
    wasmtime_stage.add()
    functions = wasmtime_stage.functions
    plugin = wasmtime_stage.manager.get("plugin").plugin
    assert functions.try_inline(plugin, "f", wasmtime_stage.request("a")).body == b"ok"
    stream = functions.try_inline(plugin, "f", wasmtime_stage.request("p"))
    wasmtime_stage.ask("ak")
    assert functions.finish(stream).body == b"local"
    slot = wasmtime_stage.pool().try_acquire()
    assert functions.try_inline(plugin, "f", wasmtime_stage.request("a")) is None
    wasmtime_stage.pool().release(slot)
    with pytest.raises(FunctionFailedError):
        functions.try_inline(plugin, "f", wasmtime_stage.request("t"))
    until(lambda: wasmtime_stage.pool().idle == 1)


def test_engines_with_bound_threads_serve_from_one(engine: str, stage: Any) -> None:
    stage.add()
    bound = get_wasm_engine(engine).capabilities.thread_bound
    plugin = stage.manager.get("plugin").plugin
    assert plugin.inline is False  # the guest imports a function that waits
    home = stage.pool().slots[0].home
    assert (type(home).__name__ == "OwnThread") is bound
