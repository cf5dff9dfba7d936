"""gRPC calls to a real server of grpcio's."""

from __future__ import annotations

import base64
import logging
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import grpc  # type: ignore[import-untyped]
import pytest

from anywasm.abi.calls import GrpcTarget
from anywasm.server.callouts import GrpcCalls
from anywasm.server.callouts.grpc_channels import load_grpc
from anywasm.server.upstream import Cluster, TlsOptions, UpstreamClusters

MAX = 1024 * 1024


class Handlers(grpc.GenericRpcHandler):  # type: ignore[misc]
    """Methods by name; a word before the name says the kind."""

    def __init__(self) -> None:
        self.metadata: dict[str, Any] = {}
        self.ended = threading.Event()
        self.received: list[bytes] = []

    def service(self, details: Any) -> Any:
        name = details.method.rpartition("/")[2]
        self.metadata = dict(details.invocation_metadata)
        unary = getattr(self, f"unary_{name}", None)
        if unary is not None:
            return grpc.unary_unary_rpc_method_handler(unary)
        stream = getattr(self, f"stream_{name}", None)
        return None if stream is None else grpc.stream_stream_rpc_method_handler(stream)

    def unary_echo(self, message: bytes, context: Any) -> bytes:
        return message + b"!"

    def unary_error(self, message: bytes, context: Any) -> bytes:
        context.abort(grpc.StatusCode.NOT_FOUND, "no such thing: ä")
        raise AssertionError

    def unary_slow(self, message: bytes, context: Any) -> bytes:
        context.add_callback(self.ended.set)
        self.ended.wait(10)
        return message

    def unary_big(self, message: bytes, context: Any) -> bytes:
        return bytes(int(message))

    def unary_authority(self, message: bytes, context: Any) -> bytes:
        host: str = context._rpc_event.call_details.host.decode()
        return host.encode()

    def stream_talk(self, messages: Iterator[bytes], context: Any) -> Iterator[bytes]:
        context.send_initial_metadata((("x-first", "1"), ("raw-bin", b"\x00\xff")))
        for message in messages:
            yield message + b"!"
        context.set_trailing_metadata((("x-last", "2"),))

    def stream_collect(self, messages: Iterator[bytes], context: Any) -> Iterator[bytes]:
        yield b",".join(messages)

    def stream_count(self, messages: Iterator[bytes], context: Any) -> Iterator[bytes]:
        for number in range(100):
            yield b"%d" % number

    def stream_refuse(self, messages: Iterator[bytes], context: Any) -> Iterator[bytes]:
        context.set_trailing_metadata((("x-why", "because"),))
        context.abort(grpc.StatusCode.PERMISSION_DENIED, "go away")
        yield b""

    def stream_break(self, messages: Iterator[bytes], context: Any) -> Iterator[bytes]:
        yield next(messages)
        context.abort(grpc.StatusCode.DATA_LOSS, "lost it")

    def stream_hold(self, messages: Iterator[bytes], context: Any) -> Iterator[bytes]:
        context.add_callback(self.ended.set)
        context.send_initial_metadata(())
        self.ended.wait(10)
        self.received += messages
        yield b""


class Service:
    """A gRPC server that can die and come back."""

    def __init__(self) -> None:
        self.handlers = Handlers()
        self.port = 0
        self.credentials: Any = None
        self._server: Any = None

    def start(self) -> None:
        self._server = grpc.server(ThreadPoolExecutor(8))
        self._server.add_generic_rpc_handlers((self.handlers,))
        address = f"127.0.0.1:{self.port}"
        if self.credentials is None:
            self.port = self._server.add_insecure_port(address)
        else:
            self.port = self._server.add_secure_port(address, self.credentials)
        self._server.start()

    def stop(self) -> None:
        self._server.stop(None).wait()
        self.handlers.ended.set()


@pytest.fixture
def service(clusters: UpstreamClusters) -> Iterator[Service]:
    """The cluster `up`."""
    service = Service()
    service.start()
    clusters.add(Cluster("up", (("127.0.0.1", service.port),)))
    yield service
    service.stop()


@pytest.fixture
def calls(looping: Any, clusters: UpstreamClusters) -> Iterator[GrpcCalls]:
    calls = GrpcCalls(clusters, looping.loop, max_message_bytes=MAX)
    yield calls
    looping.run(calls.close())


class Events:
    """Keeps what a call is told; every event names the thread."""

    def __init__(self, box: Any) -> None:
        self.box = box
        self.full = False

    def on_initial_metadata(self, metadata: Any) -> None:
        self.box.put("initial", dict(metadata))

    def on_message(self, message: bytes) -> None:
        self.box.put("message", message)

    def on_trailing_metadata(self, metadata: Any) -> None:
        self.box.put("trailing", dict(metadata))

    def on_close(self, status: int, message: str) -> None:
        self.box.put("close", status, message)

    def get(self) -> Any:
        return self.box.get()

    def until_close(self) -> list[Any]:
        told = [self.get()]
        while told[-1][0] != "close":
            told.append(self.get())
        return told


@pytest.fixture
def events(kit: Any) -> Events:
    return Events(kit.Mailbox())


def target(method: str, upstream: bytes = b"up", **metadata: bytes) -> GrpcTarget:
    pairs = tuple((name.replace("_", "-").encode(), value) for name, value in metadata.items())
    return GrpcTarget(upstream, "test.Service", method, pairs)


# --- unary ---------------------------------------------------------------------------------------


def test_a_unary_call_is_answered_with_its_message_only(
    calls: GrpcCalls, service: Service, looping: Any, events: Events
) -> None:
    binary = base64.b64encode(b"\x00\xff\x10").rstrip(b"=")
    asked = target("echo", x_text=b"plain text", some_bin=binary)
    assert calls.call(asked, b"hi", 10.0, events) is not None
    assert events.get() == ("message", b"hi!")
    looping.settle()
    assert events.box.empty
    assert events.box.threads == {looping.thread.name}
    assert service.handlers.metadata["x-text"] == "plain text"
    assert service.handlers.metadata["some-bin"] == b"\x00\xff\x10"


def test_a_unary_failure_is_a_close(calls: GrpcCalls, service: Service, events: Events) -> None:
    calls.call(target("error"), b"", 10.0, events)
    assert events.get() == ("close", 5, "no such thing: ä")
    calls.call(target("unknown"), b"", None, events)
    assert events.get()[:2] == ("close", 12)


def test_a_deadline_ends_it(calls: GrpcCalls, service: Service, events: Events) -> None:
    calls.call(target("echo"), b"", 10.0, events)  # connects, which counts into the time
    assert events.get() == ("message", b"!")
    calls.call(target("slow"), b"", 0.5, events)
    assert events.get()[:2] == ("close", 4)
    assert service.handlers.ended.wait(10)


@pytest.mark.parametrize("timeout", [None, 60.0])
def test_what_is_left_ends_it_however_long_its_own_timeout(
    calls: GrpcCalls, service: Service, events: Events, timeout: float | None
) -> None:
    calls.call(replace(target("slow"), time_left=0.1), b"", timeout, events)
    assert events.get()[:2] == ("close", 4)
    calls.stream(replace(target("hold"), time_left=0.1), events)
    while (event := events.get())[0] != "close":
        pass
    assert event[1] == 4
    calls.call(replace(target("echo"), time_left=0.0), b"", timeout, events)
    assert events.get()[:2] == ("close", 4)


def test_big_messages_pass_and_too_big_ones_do_not(
    calls: GrpcCalls, service: Service, events: Events
) -> None:
    calls.call(target("big"), b"%d" % MAX, 10.0, events)
    assert events.get() == ("message", bytes(MAX))
    calls.call(target("big"), b"%d" % (MAX + 1), 10.0, events)
    assert events.get()[:2] == ("close", 8)
    calls.call(target("echo"), bytes(3 * MAX), 10.0, events)
    assert events.get()[:2] == ("close", 8)


def test_a_cancelled_call_is_told_nothing(
    calls: GrpcCalls, service: Service, looping: Any, events: Events
) -> None:
    call = calls.call(target("slow"), b"", 10.0, events)
    assert call is not None
    time.sleep(0.05)
    call.cancel()
    call.cancel()
    assert service.handlers.ended.wait(10)

    def call_and_cancel() -> None:
        early = calls.call(target("echo"), b"", 10.0, events)
        assert early is not None
        early.cancel()

    looping.do(call_and_cancel)
    calls.call(target("echo"), b"later", 10.0, events)
    assert events.get() == ("message", b"later!")
    looping.settle()
    assert events.box.empty


@pytest.mark.parametrize(
    "pair",
    [
        (b":path", b"/x"),
        (b"bad name", b"x"),
        (b"", b"x"),
        (b"x", b"a\nb"),
        (b"x", b"\xff"),
        (b"x-bin", b"no base64!"),
    ],
)
def test_metadata_that_cannot_be_sent_fails_the_call(
    calls: GrpcCalls, service: Service, events: Events, pair: tuple[bytes, bytes]
) -> None:
    calls.call(GrpcTarget(b"up", "test.Service", "echo", (pair,)), b"", 10.0, events)
    assert events.get()[:2] == ("close", 13)
    calls.stream(GrpcTarget(b"up", "test.Service", "echo", (pair,)), events)
    assert events.get()[:2] == ("close", 13)
    assert service.handlers.metadata == {}


def test_no_server_is_unavailable_and_one_that_comes_back_is_found(
    calls: GrpcCalls, service: Service, events: Events, kit: Any
) -> None:
    def ask() -> Any:
        calls.call(target("echo"), b"a", 10.0, events)
        return events.get()

    assert ask() == ("message", b"a!")
    service.stop()
    assert ask()[:2] == ("close", 14)
    calls.stream(target("echo"), events)
    assert events.get()[:2] == ("close", 14)
    service.start()
    kit.eventually(lambda: ask() == ("message", b"a!"))


def test_nothing_is_told_from_inside(
    calls: GrpcCalls, service: Service, looping: Any, events: Events
) -> None:
    def begin() -> None:
        calls.call(target("echo"), b"", 10.0, events)
        calls.call(GrpcTarget(b"up", "s", "m", ((b"", b""),)), b"", 10.0, events)
        assert events.box.empty

    looping.do(begin)
    assert {events.get()[0], events.get()[0]} == {"message", "close"}


# --- streams -------------------------------------------------------------------------------------


def test_a_stream_goes_both_ways_in_order(
    calls: GrpcCalls, service: Service, events: Events
) -> None:
    stream = calls.stream(target("talk", x_text=b"1"), events)
    assert stream is not None
    assert events.get() == ("initial", {b"x-first": b"1", b"raw-bin": b"AP8"})
    for word in (b"a", b"", b"c"):
        stream.send(word, False)
        assert events.get() == ("message", word + b"!")
    stream.send(b"last", True)
    stream.send(b"too late", False)
    stream.half_close()
    assert events.until_close() == [
        ("message", b"last!"),
        ("trailing", {b"x-last": b"2"}),
        ("close", 0, ""),
    ]
    stream.send(b"after the end", True)
    stream.cancel()


def test_the_client_may_send_all_first(calls: GrpcCalls, service: Service, events: Events) -> None:
    stream = calls.stream(target("collect"), events)
    assert stream is not None
    for number in range(50):
        stream.send(b"%d" % number, False)
    stream.half_close()
    stream.half_close()
    stream.send(b"too late", False)
    told = events.until_close()
    assert told == [
        ("initial", {}),
        ("message", b",".join(b"%d" % number for number in range(50))),
        ("trailing", {}),
        ("close", 0, ""),
    ]


def test_the_server_may_send_all(calls: GrpcCalls, service: Service, events: Events) -> None:
    calls.stream(target("count"), events)
    told = events.until_close()
    assert told[1:-2] == [("message", b"%d" % number) for number in range(100)]


def test_a_refused_stream_is_closed_with_its_status(
    calls: GrpcCalls, service: Service, events: Events
) -> None:
    calls.stream(target("refuse"), events)
    told = events.until_close()
    assert told[-2:] == [("trailing", {b"x-why": b"because"}), ("close", 7, "go away")]
    assert [item[0] for item in told[:-2]] in ([], ["initial"])


def test_a_stream_that_breaks_says_so_after_what_it_gave(
    calls: GrpcCalls, service: Service, events: Events
) -> None:
    stream = calls.stream(target("break"), events)
    assert stream is not None
    stream.send(b"one", False)
    told = events.until_close()
    assert told == [
        ("initial", {}),
        ("message", b"one"),
        ("trailing", {}),
        ("close", 15, "lost it"),
    ]


def test_a_cancelled_stream_is_reset_and_told_nothing(
    calls: GrpcCalls, service: Service, looping: Any, events: Events
) -> None:
    stream = calls.stream(target("hold"), events)
    assert stream is not None
    assert events.get() == ("initial", {})
    stream.cancel()
    assert service.handlers.ended.wait(10)
    looping.settle()
    assert events.box.empty


def test_a_dying_server_closes_streams(calls: GrpcCalls, service: Service, events: Events) -> None:
    calls.stream(target("hold"), events)
    assert events.get() == ("initial", {})
    service.stop()
    assert events.until_close()[-1][:2] == ("close", 14)


def test_a_stream_tells_what_waits_until_somebody_reads_it(
    calls: GrpcCalls, service: Service, events: Events
) -> None:
    stream = calls.stream(target("hold"), events)
    assert stream is not None
    assert events.get() == ("initial", {})
    size = MAX // 2
    for _ in range(40):
        stream.send(bytes(size), False)
    stream.half_close()
    assert stream.unsent > 10 * size  # but for what is in buffers on the way
    service.handlers.ended.set()
    assert [event[0] for event in events.until_close()] == ["message", "trailing", "close"]
    assert stream.unsent == 0
    assert [len(message) for message in service.handlers.received] == [size] * 40


def test_a_stream_is_not_read_while_too_much_waits(
    calls: GrpcCalls, service: Service, events: Events
) -> None:
    events.full = True
    calls.stream(target("count"), events)
    assert events.get()[0] == "initial"
    assert events.get() == ("message", b"0")
    calls.call(target("echo"), b"", 10.0, events)  # others go on
    assert events.get() == ("message", b"!")
    events.full = False
    messages = [event[1] for event in events.until_close() if event[0] == "message"]
    assert messages == [b"%d" % number for number in range(1, 100)]


# --- upstreams -----------------------------------------------------------------------------------


def test_a_grpc_service_brings_authority_timeout_and_metadata(
    calls: GrpcCalls, service: Service, events: Events
) -> None:
    def field(number: int, value: bytes) -> bytes:
        return bytes((number << 3 | 2, len(value))) + value

    cluster = field(1, field(1, b"up") + field(2, b"auth.test"))
    metadata = field(5, field(1, b"x-from") + field(2, b"service"))
    calls.call(target("authority", cluster + metadata), b"", 10.0, events)
    assert events.get() == ("message", b"auth.test")
    assert service.handlers.metadata["x-from"] == "service"
    timeout = field(3, bytes((2 << 3, 0x80, 0xC2, 0xD7, 0x2F)))  # 100 ms, in nanoseconds
    calls.call(target("slow", cluster + timeout), b"", None, events)
    assert events.get()[:2] == ("close", 4)
    calls.stream(target("hold", cluster + timeout), events)
    assert events.until_close()[-1][:2] == ("close", 4)
    endpoint = field(2, field(1, b"127.0.0.1:%d" % service.port))
    calls.call(target("authority", endpoint), b"", 10.0, events)
    assert events.get() == ("message", b"127.0.0.1:%d" % service.port)


def test_what_is_not_configured_is_no_call(
    calls: GrpcCalls, service: Service, events: Events
) -> None:
    for upstream in (b"nowhere", b"", b"\xff", b"127.0.0.1:%d" % service.port):
        assert calls.call(target("echo", upstream), b"", 1.0, events) is None
        assert calls.stream(target("echo", upstream), events) is None


def test_another_endpoint_is_used_when_one_is_down(
    calls: GrpcCalls,
    service: Service,
    clusters: UpstreamClusters,
    closed_port: int,
    events: Events,
) -> None:
    endpoints = (("127.0.0.1", closed_port), ("127.0.0.1", service.port))
    clusters.add(Cluster("two", endpoints))
    told = []
    for _ in range(4):
        calls.call(target("echo", b"two"), b"", 10.0, events)
        told.append(events.get()[:2])
    assert told == [("close", 14), *[("message", b"!")] * 3]


def test_a_proxy_of_the_environment_is_not_used(
    calls: GrpcCalls,
    service: Service,
    events: Events,
    closed_port: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("http_proxy", "grpc_proxy"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{closed_port}")
    monkeypatch.delenv("no_proxy", raising=False)
    calls.call(target("echo"), b"", 10.0, events)
    assert events.get() == ("message", b"!")


def test_tls_is_spoken_and_verified(
    calls: GrpcCalls,
    clusters: UpstreamClusters,
    certificate: tuple[Path, Path],
    events: Events,
    caplog: pytest.LogCaptureFixture,
) -> None:
    chain, key = (path.read_bytes() for path in certificate)
    service = Service()
    service.credentials = grpc.ssl_server_credentials([(key, chain)])
    service.start()
    address = (("127.0.0.1", service.port),)
    trusted = str(certificate[0])
    for name, tls in {
        "good": TlsOptions("up.test", trusted),
        "name": TlsOptions("other.test", trusted),
        "authority": TlsOptions("up.test"),
        "insecure": TlsOptions("up.test", insecure=True),
    }.items():
        clusters.add(Cluster(name, address, tls=tls))
    for name, told in {
        "good": ("message", b"!"),
        "name": ("close", 14),
        "authority": ("close", 14),
    }.items():
        calls.call(target("echo", name.encode()), b"", 10.0, events)
        assert events.get()[:2] == told, name
    for _ in range(2):
        assert calls.call(target("echo", b"insecure"), b"", 10.0, events) is None
    assert caplog.text.count("tls.ca_file") == 1
    service.stop()


def test_closing_ends_everything_silently(
    looping: Any, clusters: UpstreamClusters, service: Service, events: Events
) -> None:
    calls = GrpcCalls(clusters, looping.loop)
    calls.call(target("slow"), b"", 10.0, events)
    stream = calls.stream(target("hold"), events)
    assert stream is not None
    assert events.get() == ("initial", {})
    looping.run(calls.close())
    stream.send(b"x", True)
    stream.cancel()
    looping.settle()
    assert events.box.empty


def test_without_grpcio_it_says_what_to_install(
    calls: GrpcCalls,
    service: Service,
    events: Events,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    load_grpc.cache_clear()
    monkeypatch.setitem(sys.modules, "grpc.aio", None)
    try:
        with caplog.at_level(logging.INFO):
            for _ in range(3):
                assert calls.call(target("echo"), b"", 10.0, events) is None
                assert calls.stream(target("echo"), events) is None
        assert caplog.text.count("pip install 'anywasm[grpc]'") == 1
    finally:
        load_grpc.cache_clear()
