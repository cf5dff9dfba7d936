"""A server that stops finishes what it has begun, and frees everything."""

from __future__ import annotations

import socket
import threading
from typing import Any

import pytest


def refused(place: Any) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(place) != 0


def test_running_requests_are_finished(serving: Any, tools: Any, gate: Any, engine: str) -> None:
    running = serving(tools.quickstart(engine, instance_num=2), state_stores=tools.GATED)
    place = running.place()
    answers: list[Any] = []

    def ask() -> None:
        answers.append(tools.ask(place, "/?name=gift", "id_1"))

    clients = [threading.Thread(target=ask) for _ in range(2)]
    for client in clients:
        client.start()
    gate.entered(2)
    stopper = threading.Thread(target=running.stop)
    stopper.start()
    tools.eventually(lambda: refused(place))
    gate.opened.set()
    for thread in (*clients, stopper):
        thread.join()
    assert [answer.body for answer in answers] == [b"There are gift inventories for gift."] * 2
    assert [answer.values("connection") for answer in answers] == [["close"]] * 2


def test_requests_that_take_too_long_are_cut(
    serving: Any, tools: Any, gate: Any, caplog: pytest.LogCaptureFixture
) -> None:
    running = serving(tools.quickstart("wasmtime"), state_stores=tools.GATED, drain_timeout=0.1)
    connection = tools.connect(running.place())
    connection.sendall(b"GET /?a HTTP/1.1\r\nhost: a\r\nid: id_2\r\n\r\n")
    gate.entered()
    running.stop()
    assert connection.recv(1000) == b""
    connection.close()
    assert "listener main: 1 requests were cut" in caplog.text
    # The answer that nobody waits for any more comes after the loop has gone.
    caplog.clear()
    gate.opened.set()
    tools.eventually(lambda: not tools.own_threads())
    assert not [record for record in caplog.records if record.levelname == "ERROR"]


def test_idle_connections_are_closed(serving: Any, guest: Any, tools: Any) -> None:
    running = serving([guest.plugin("hello", guest.answers("hello"))])
    client = tools.Client(running.place())
    assert client.ask(id="hello").body == b"hello"
    running.stop()
    assert client.socket.recv(1) == b""
    client.close()


def test_half_a_management_request_does_not_hold_up_the_stop(managing: Any, tools: Any) -> None:
    running = managing(drain_timeout=0.2)
    connection = tools.connect(running.admin)
    head = b"POST /wasm/install HTTP/1.1\r\nhost: localhost\r\ncontent-length: 9\r\n\r\n"
    connection.sendall(head + b"{")
    tools.eventually(lambda: running.server.admin.connections_active == 1)
    running.stop()
    with connection, connection.makefile("rb") as answer:
        assert answer.readline() == b"HTTP/1.1 500 Internal Server Error\r\n"


def test_stop_right_after_the_start(managing: Any, tools: Any) -> None:
    running = managing()
    places = [running.place(), running.admin]
    running.stop()
    assert all(map(refused, places))


def test_stop_twice(managing: Any, guest: Any) -> None:
    running = managing([guest.plugin("hello", guest.answers("hello"))])
    place = running.place()
    running.close()
    running.close()
    assert refused(place)


def test_state_stores_outlive_the_requests(serving: Any, tools: Any, gate: Any) -> None:
    running = serving(tools.quickstart("wasmtime"), state_stores=tools.GATED)
    closed_while_asked: list[int] = []
    gate.close = lambda: closed_while_asked.append(gate.at_once)
    place = running.place()
    client = threading.Thread(target=tools.ask, args=(place, "/?a", "id_2"))
    client.start()
    gate.entered()
    stopper = threading.Thread(target=running.stop)
    stopper.start()
    tools.eventually(lambda: refused(place))
    gate.opened.set()
    client.join()
    stopper.join()
    assert closed_while_asked == [0]
