"""Redis calls against a real Valkey."""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from anywasm.abi.calls import RedisServer
from anywasm.server.callouts import RedisCalls
from anywasm.server.upstream import Cluster, TlsOptions, UpstreamClusters

FAILED = (2, b"")


def command(*words: str | bytes) -> bytes:
    """A command as RESP, as guests' SDKs write it."""
    parts = [word.encode() if isinstance(word, str) else word for word in words]
    lines = b"".join(b"$%d\r\n%b\r\n" % (len(part), part) for part in parts)
    return b"*%d\r\n" % len(parts) + lines


def settings(cluster: str = "redis", **options: Any) -> RedisServer:
    return RedisServer(
        cluster,
        options.get("username", ""),
        options.get("password", ""),
        options.get("database", 0),
        options.get("timeout", 10.0),
    )


@pytest.fixture
def calls(looping: Any, clusters: UpstreamClusters) -> Iterator[RedisCalls]:
    calls = RedisCalls(clusters, looping.loop, max_answer_bytes=4 * 1024 * 1024)
    yield calls
    looping.run(calls.close())


@pytest.fixture
def ask(calls: RedisCalls, kit: Any) -> Callable[..., tuple[int, bytes]]:
    def ask(*words: str | bytes, cluster: str = "redis") -> Any:
        box = kit.Mailbox()
        assert calls.call(cluster, command(*words), lambda *told: box.put(told)) is not None
        return box.get()

    return ask


@pytest.fixture
def server(own_valkey: Callable[..., Any], clusters: UpstreamClusters, calls: RedisCalls) -> Any:
    """A Valkey as the cluster `redis`, configured."""
    server = own_valkey()
    clusters.add(Cluster("redis", (("127.0.0.1", server.port),), max_pending=200))
    assert calls.configure(settings())
    return server


Ask = Callable[..., tuple[int, bytes]]


def test_answers_come_as_the_server_wrote_them(ask: Ask, server: Any) -> None:
    assert ask("SET", "k", b"a\r\nb\x00\xff") == (0, b"+OK\r\n")
    assert ask("GET", "k") == (0, b"$6\r\na\r\nb\x00\xff\r\n")
    assert ask("GET", "none") == (0, b"$-1\r\n")
    assert ask("INCR", "n") == (0, b":1\r\n")
    assert ask("INCR", "k") == (0, b"-ERR value is not an integer or out of range\r\n")
    assert ask("NONSENSE")[1].startswith(b"-ERR unknown command")
    nested = "return {1, {'a', {}, {2}}, false}"
    assert ask("EVAL", nested, "0") == (
        0,
        b"*3\r\n:1\r\n*3\r\n$1\r\na\r\n*0\r\n*1\r\n:2\r\n$-1\r\n",
    )


def test_big_values_pass(ask: Ask, server: Any) -> None:
    value = bytes(range(256)) * 4096 * 3
    assert ask("SET", "big", value) == (0, b"+OK\r\n")
    assert ask("GET", "big") == (0, b"$%d\r\n%b\r\n" % (len(value), value))


def test_too_big_an_answer_is_a_failure_and_the_next_one_is_not(ask: Ask, server: Any) -> None:
    assert ask("SETRANGE", "big", str(5 * 1024 * 1024), "x")[0] == 0
    assert ask("GET", "big") == FAILED
    assert ask("PING") == (0, b"+PONG\r\n")


def test_commands_of_all_threads_are_pipelined_on_one_connection_in_order(
    calls: RedisCalls, looping: Any, server: Any, kit: Any
) -> None:
    with server.client() as client:
        before = client.info("stats")["total_connections_received"]
        boxes = [kit.Mailbox() for _ in range(4)]

        def send(box: Any, name: str) -> None:
            for _ in range(50):
                calls.call("redis", command("INCR", name), lambda *told: box.put(told))

        threads = [
            threading.Thread(target=send, args=(box, f"n{number}"))
            for number, box in enumerate(boxes)
        ]
        for thread in threads:
            thread.start()
        for box in boxes:
            assert [box.get() for _ in range(50)] == [(0, b":%d\r\n" % n) for n in range(1, 51)]
            assert box.threads == {looping.thread.name}
        for thread in threads:
            thread.join()
        assert client.info("stats")["total_connections_received"] == before + 1


def test_user_password_and_database_are_told_first(
    calls: RedisCalls,
    ask: Ask,
    own_valkey: Callable[..., Any],
    clusters: UpstreamClusters,
) -> None:
    server = own_valkey("s3cret")
    with server.client() as client:
        client.acl_setuser("guest", enabled=True, passwords=["+pw"], commands=["+@all"], keys="*")
    clusters.add(Cluster("redis", (("127.0.0.1", server.port),)))
    assert calls.configure(settings(password="s3cret", database=3))
    assert ask("ACL", "WHOAMI") == (0, b"$7\r\ndefault\r\n")
    assert ask("SET", "where", "three") == (0, b"+OK\r\n")
    with server.client(database=3) as client:
        assert client.get("where") == b"three"
    assert calls.configure(settings(username="guest", password="pw"))
    assert ask("ACL", "WHOAMI") == (0, b"$5\r\nguest\r\n")
    assert ask("GET", "where") == (0, b"$-1\r\n")


@pytest.mark.parametrize(
    ("options", "code"),
    [
        ({"password": "hunter2hunter2"}, "AUTH (WRONGPASS)"),
        ({"username": "eve", "password": "hunter2hunter2"}, "AUTH (WRONGPASS)"),
        ({"password": "s3cret", "database": 99}, "SELECT (ERR)"),
    ],
)
def test_refused_settings_fail_calls_and_do_not_show_the_password(
    calls: RedisCalls,
    ask: Ask,
    own_valkey: Callable[..., Any],
    clusters: UpstreamClusters,
    caplog: pytest.LogCaptureFixture,
    options: dict[str, Any],
    code: str,
) -> None:
    server = own_valkey("s3cret")
    clusters.add(Cluster("redis", (("127.0.0.1", server.port),)))
    with caplog.at_level(logging.DEBUG):
        assert calls.configure(settings(**options))
        assert ask("PING") == FAILED
        assert ask("PING") == FAILED
    (record,) = [item for item in caplog.records if item.name == "anywasm.server.callouts"]
    assert record.getMessage().endswith(f"it refuses {code}")
    assert "hunter2" not in caplog.text
    assert "s3cret" not in caplog.text
    # Settings that are right help at once.
    assert calls.configure(settings(password="s3cret"))
    assert ask("PING") == (0, b"+PONG\r\n")


def test_without_a_password_the_server_itself_says_so(
    calls: RedisCalls, ask: Ask, own_valkey: Callable[..., Any], clusters: UpstreamClusters
) -> None:
    clusters.add(Cluster("redis", (("127.0.0.1", own_valkey("s3cret").port),)))
    assert calls.configure(settings())
    # Higress's wasm-go looks for these words and configures anew.
    assert ask("GET", "k") == (0, b"-NOAUTH Authentication required.\r\n")


def test_what_is_not_configured_is_no_call(
    calls: RedisCalls, clusters: UpstreamClusters, closed_port: int
) -> None:
    clusters.add(Cluster("redis", (("127.0.0.1", closed_port),)))
    assert not calls.configure(settings("elsewhere"))
    assert calls.call("redis", command("PING"), lambda *_: None) is None
    assert calls.configure(settings())
    assert calls.call("redis", b"PING\r\n", lambda *_: None) is None
    assert calls.call("redis", command("PING") * 2, lambda *_: None) is None


@pytest.mark.parametrize(
    "words",
    [
        ("select", "1"),
        ("MULTI",),
        ("Subscribe", "a", "b"),
        ("client", "reply", "off"),
        ("AUTH", "x"),
        ("HELLO", "3"),
        ("BLPOP", "list", "0"),
        ("QUIT",),
    ],
)
def test_commands_that_would_change_the_shared_connection_are_refused(
    ask: Ask, server: Any, words: tuple[str, ...]
) -> None:
    status, answer = ask(*words)
    assert status == 0
    name = words[0].upper().encode()
    assert answer == b"-ERR %b is not allowed on a connection that guests share\r\n" % name
    assert ask("PING") == (0, b"+PONG\r\n")
    assert ask("CLIENT", "GETNAME") == (0, b"$-1\r\n")


def test_no_server_fails_and_a_server_that_comes_is_found(
    calls: RedisCalls, ask: Ask, server: Any, kit: Any
) -> None:
    server.stop()
    assert ask("PING") == FAILED
    assert ask("PING") == FAILED
    server.start()
    kit.eventually(lambda: ask("PING") == (0, b"+PONG\r\n"))


def test_a_restart_fails_what_is_under_way_and_no_more(
    calls: RedisCalls, ask: Ask, server: Any, kit: Any
) -> None:
    assert ask("PING") == (0, b"+PONG\r\n")
    server.pause()
    box = kit.Mailbox()
    for _ in range(3):
        calls.call("redis", command("PING"), lambda *told: box.put(told))
    server.stop()
    told = {box.get() for _ in range(3)}
    # The dying server may still have answered.
    assert told <= {FAILED, (0, b"+PONG\r\n")}
    server.start()
    kit.eventually(lambda: ask("PING") == (0, b"+PONG\r\n"))


def test_a_server_that_hangs_is_left(
    calls: RedisCalls, ask: Ask, server: Any, kit: Any, caplog: pytest.LogCaptureFixture
) -> None:
    assert calls.configure(settings(timeout=0.3))
    assert ask("SET", "k", "v") == (0, b"+OK\r\n")
    server.pause()
    box = kit.Mailbox()
    for _ in range(3):
        calls.call("redis", command("GET", "k"), lambda *told: box.put(told))
    assert [box.get() for _ in range(3)] == [FAILED] * 3
    left = "the Redis of cluster redis was left: it does not answer"
    kit.eventually(lambda: left in caplog.text)
    server.resume()
    kit.eventually(lambda: ask("GET", "k") == (0, b"$1\r\nv\r\n"))
    assert box.empty


def test_who_has_less_time_hears_sooner_and_the_connection_stays(
    calls: RedisCalls, ask: Ask, server: Any, kit: Any, caplog: pytest.LogCaptureFixture
) -> None:
    assert calls.configure(settings(timeout=60.0))
    assert ask("SET", "k", "v") == (0, b"+OK\r\n")
    server.pause()
    hasty, patient = kit.Mailbox(), kit.Mailbox()
    query = command("GET", "k")
    calls.call("redis", query, lambda *told: patient.put(told), time_left=3600.0)
    calls.call("redis", query, lambda *told: hasty.put(told), time_left=0.1)
    assert hasty.get() == FAILED
    assert patient.empty
    server.resume()
    assert patient.get() == (0, b"$1\r\nv\r\n")
    assert ask("GET", "k") == (0, b"$1\r\nv\r\n")
    assert hasty.empty
    assert "was left" not in caplog.text


def test_a_late_answer_goes_to_nobody_else(
    calls: RedisCalls, clusters: UpstreamClusters, looping: Any, kit: Any
) -> None:
    """A server that is slow but answers is not left, and what it answers late is dropped."""
    received = kit.Mailbox()
    peers: list[asyncio.StreamWriter] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        peers.append(writer)
        while data := await reader.read(1000):
            received.put(data)
        writer.close()

    async def close(server: asyncio.Server) -> None:
        await calls.close()
        server.close()
        await server.wait_closed()

    server = looping.run(asyncio.start_server(serve, "127.0.0.1", 0))
    clusters.add(Cluster("redis", (server.sockets[0].getsockname(),)))
    assert calls.configure(settings(timeout=0.3))
    box = kit.Mailbox()

    def call(name: str) -> None:
        calls.call("redis", command("ECHO", name), lambda *told: box.put((name, *told)))
        assert received.get() == command("ECHO", name)

    call("a")
    call("b")
    looping.do(lambda: peers[0].write(b"+a\r\n"))
    assert box.get() == ("a", 0, b"+a\r\n")
    assert box.get() == ("b", *FAILED)
    call("c")
    looping.do(lambda: peers[0].write(b"+b\r\n+c\r\n"))
    assert box.get() == ("c", 0, b"+c\r\n")
    looping.run(close(server))


def test_a_cancelled_command_tells_nobody_and_keeps_the_order(
    calls: RedisCalls, looping: Any, server: Any, kit: Any
) -> None:
    box = kit.Mailbox()

    def call_and_cancel() -> None:
        first = calls.call("redis", command("INCR", "n"), lambda *_: box.put("never"))
        assert first is not None
        first.cancel()

    looping.do(call_and_cancel)
    calls.call("redis", command("ECHO", "1"), lambda *told: box.put(told))
    assert box.get() == (0, b"$1\r\n1\r\n")
    server.pause()
    second = calls.call("redis", command("ECHO", "2"), lambda *_: box.put("never"))
    assert second is not None
    looping.settle()
    second.cancel()
    second.cancel()
    calls.call("redis", command("ECHO", "3"), lambda *told: box.put(told))
    server.resume()
    assert box.get() == (0, b"$1\r\n3\r\n")
    looping.settle()
    assert box.empty
    with server.client() as client:
        assert client.get("n") is None  # cancelled before it was sent


def test_too_many_commands_at_once_fail(
    calls: RedisCalls, looping: Any, server: Any, kit: Any
) -> None:
    box = kit.Mailbox()

    def flood() -> None:
        for _ in range(300):
            calls.call("redis", command("PING"), lambda *told: box.put(told))
        assert box.empty  # nothing is told from inside

    looping.do(flood)
    told = [box.get() for _ in range(300)]
    assert sorted(told) == [(0, b"+PONG\r\n")] * 200 + [FAILED] * 100


def test_new_settings_let_what_is_under_way_finish(
    calls: RedisCalls, looping: Any, server: Any, kit: Any
) -> None:
    box = kit.Mailbox()
    with server.client() as client:

        def change() -> None:
            for _ in range(3):
                calls.call("redis", command("INCR", "n"), lambda *told: box.put(told))
            assert calls.configure(settings(database=1))
            calls.call("redis", command("INCR", "n"), lambda *told: box.put(told))

        looping.do(change)
        told = [box.get() for _ in range(4)]
        assert sorted(told) == [(0, b":1\r\n")] * 2 + [(0, b":2\r\n"), (0, b":3\r\n")]
        kit.eventually(lambda: len(client.client_list()) == 2)  # the old connection is gone


def test_plugins_have_settings_of_their_own(calls: RedisCalls, server: Any, kit: Any) -> None:
    def ask(owner: str, *words: str) -> Any:
        box = kit.Mailbox()
        assert calls.call("redis", command(*words), lambda *told: box.put(told), owner=owner)
        return box.get()

    assert calls.configure(settings(database=1), owner="a")
    assert calls.configure(settings(database=2), owner="b")
    assert ask("a", "SET", "k", "1") == ask("b", "SET", "k", "2") == (0, b"+OK\r\n")
    assert ask("a", "GET", "k") == (0, b"$1\r\n1\r\n")
    assert calls.call("redis", command("PING"), print, owner="c") is None
    # One connection for all with the same settings, and none once nobody has them.
    assert calls.configure(settings(database=2), owner="a")
    assert ask("a", "GET", "k") == (0, b"$1\r\n2\r\n")
    with server.client() as client:

        def databases() -> list[str]:
            return [item["db"] for item in client.client_list()]

        kit.eventually(lambda: "1" not in databases())


def test_what_speaks_something_else_is_left(
    calls: RedisCalls, ask: Ask, clusters: UpstreamClusters, http_upstream: Any
) -> None:
    assert calls.configure(settings("up", password="x"))
    assert ask("PING", cluster="up") == FAILED


def test_a_unix_socket_serves_too(
    calls: RedisCalls, ask: Ask, own_valkey: Callable[..., Any], clusters: UpstreamClusters
) -> None:
    clusters.add(Cluster("redis", path=str(own_valkey().socket)))
    assert calls.configure(settings())
    assert ask("PING") == (0, b"+PONG\r\n")


def test_another_endpoint_is_used_when_one_is_down(
    calls: RedisCalls,
    ask: Ask,
    own_valkey: Callable[..., Any],
    clusters: UpstreamClusters,
    closed_port: int,
) -> None:
    endpoints = (("127.0.0.1", closed_port), ("127.0.0.1", own_valkey().port))
    clusters.add(Cluster("redis", endpoints))
    assert calls.configure(settings())
    assert ask("PING") == (0, b"+PONG\r\n")


def test_tls_is_spoken_and_verified(
    calls: RedisCalls, ask: Ask, clusters: UpstreamClusters, certificate: tuple[Path, Path]
) -> None:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(*certificate)
    asked: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            for _ in range(2):
                raw, _ = listener.accept()
                try:
                    with context.wrap_socket(raw, server_side=True) as connection:
                        asked.append(connection.recv(1000))
                        connection.sendall(b"+PONG\r\n")
                        connection.recv(1)
                except OSError:
                    raw.close()

        thread = threading.Thread(target=serve)
        thread.start()
        address = (listener.getsockname(),)
        trusted = TlsOptions("up.test", str(certificate[0]))
        clusters.add(Cluster("redis", address, tls=trusted))
        clusters.add(Cluster("stranger", address, tls=TlsOptions("up.test")))
        assert calls.configure(settings("stranger"))
        assert calls.configure(settings())
        assert ask("PING", cluster="stranger") == FAILED
        assert ask("PING") == (0, b"+PONG\r\n")
        assert asked == [command("PING")]
        assert calls.configure(settings(database=1))  # closes the connection
        thread.join()
