from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest
import uvloop

from anywasm.core.errors import ConfigError, StateStoreError
from anywasm.plugins.config import StateStoreConfig
from anywasm.server.state import open_state_store
from anywasm.testing.redis_server import RedisServer

if TYPE_CHECKING:
    from anywasm.abi.host import StateStore

PASSWORD = "s3cret:/@ö"
ENCODED = "s3cret%3A%2F%40%C3%B6"


Start = Callable[..., RedisServer]
Open = Callable[..., "StateStore"]


class OnLoop:
    """Reads a store on an event loop that runs in a thread of its own."""

    def __init__(self, store: StateStore, loop: asyncio.AbstractEventLoop) -> None:
        self._store = store
        self._loop = loop

    def get(self, key: bytes, timeout: float) -> bytes | None:
        """As the store's."""
        get_soon = getattr(self._store, "get_soon", None)
        if get_soon is None:
            return self._store.get(key, timeout)
        answer: Future[bytes | None] = Future()

        def tell(value: bytes | Exception | None) -> None:
            if isinstance(value, Exception):
                answer.set_exception(value)
            else:
                answer.set_result(value)

        self._loop.call_soon_threadsafe(get_soon, key, timeout, tell)
        return answer.result()

    def close(self) -> None:
        """As the store's."""
        self._store.close()


@pytest.fixture(params=["in a thread", "on asyncio", "on uvloop"])
def read_by(request: pytest.FixtureRequest) -> Iterator[Callable[[StateStore], StateStore]]:
    """Both ways to read: waiting, and on an event loop of either kind."""
    if request.param == "in a thread":
        yield lambda store: store
        return
    loop = asyncio.new_event_loop() if "asyncio" in request.param else uvloop.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    yield lambda store: OnLoop(store, loop)
    # What was closed is closed a few turns later.
    asyncio.run_coroutine_threadsafe(asyncio.sleep(0.05), loop).result()
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    loop.close()


@pytest.fixture
def open_redis(read_by: Callable[[StateStore], StateStore]) -> Iterator[Open]:
    stores: list[StateStore] = []

    def open_store(url: str, **options: object) -> StateStore:
        config = StateStoreConfig.model_validate({"type": "redis", "url": url, **options})
        stores.append(read_by(open_state_store("demo", config)))
        return stores[-1]

    yield open_store
    for store in stores:
        store.close()


@pytest.mark.parametrize(
    ("key", "value"),
    [
        (b"book1", b"100"),
        (b"empty", b""),
        ("ключ 🔑".encode(), "значение".encode()),
        (b"\x00\xff\r\n$-1", bytes(range(256))),
        (b"large", b"x" * 3_000_000),
    ],
    ids=["plain", "empty", "unicode", "binary", "large"],
)
def test_a_value_comes_back_as_it_was_set(
    valkey: RedisServer, open_redis: Open, key: bytes, value: bytes
) -> None:
    valkey.set(key, value)
    assert open_redis(valkey.url).get(key, 5) == value


def test_redis_py_does_it_all_where_hiredis_is_missing(
    own_valkey: Start, open_redis: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("anywasm.server.state.redis_wire.hiredis", None)
    server = own_valkey(PASSWORD)
    server.set("key", "value")
    server.client().hset("saved", "data", "42")
    store = open_redis(f"redis://:{ENCODED}@127.0.0.1:{server.port}", timeout="60s")
    assert [store.get(key, 5) for key in (b"key", b"none", b"saved")] == [b"value", None, b"42"]
    server.pause()
    with pytest.raises(StateStoreError, match="took too long"):
        store.get(b"key", 0.1)
    server.resume()
    assert store.get(b"none", 5) is None
    server.stop()
    server.start()
    assert store.get(b"key", 5) is None


def test_a_connection_with_more_answers_than_questions_is_not_used_again(
    open_redis: Open,
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener, ThreadPoolExecutor(1) as thread:

        def answer() -> None:
            for value in (b"a", b"b"):
                connection, _ = listener.accept()
                with connection:
                    while b"GET" not in (asked := connection.recv(1000)):
                        connection.sendall(b"+OK\r\n" * asked.count(b"*"))
                    connection.sendall(b"$1\r\n%b\r\n$1\r\nx\r\n" % value)
                    assert connection.recv(1000) == b""

        served = thread.submit(answer)
        store = open_redis(f"redis://127.0.0.1:{listener.getsockname()[1]}")
        assert [store.get(b"key", 5) for _ in range(2)] == [b"a", b"b"]
        served.result(5)


def test_a_missing_key_is_none(valkey: RedisServer, open_redis: Open) -> None:
    assert open_redis(valkey.url).get(b"nothing here", 5) is None


def test_a_hash_written_by_a_state_api_is_read(own_valkey: Start, open_redis: Open) -> None:
    server = own_valkey()
    with server.client() as client:
        client.hset("saved", mapping={"data": "42", "version": "1"})
        client.rpush("list", "x")
    store = open_redis(server.url)
    assert store.get(b"saved", 5) == b"42"
    with pytest.raises(StateStoreError, match="WRONGTYPE"):
        store.get(b"list", 5)
    assert store.get(b"saved", 5) == b"42"


def test_the_key_prefix_is_put_before_each_key(valkey: RedisServer, open_redis: Open) -> None:
    valkey.set("app||prefixed", "yes")
    assert open_redis(valkey.url, key_prefix="app||").get(b"prefixed", 5) == b"yes"


def test_a_unix_socket_and_a_database_can_be_named(own_valkey: Start, open_redis: Open) -> None:
    server = own_valkey()
    with server.client() as client:
        client.select(3)
        client.set("where", "db 3")
    assert open_redis(f"unix://{server.socket}?db=3").get(b"where", 5) == b"db 3"
    assert open_redis(f"unix://{server.socket}").get(b"where", 5) is None


def test_a_password_with_special_characters_is_sent(own_valkey: Start, open_redis: Open) -> None:
    server = own_valkey(PASSWORD)
    server.set("key", "value")
    assert open_redis(f"redis://:{ENCODED}@127.0.0.1:{server.port}").get(b"key", 5) == b"value"


@pytest.mark.parametrize("credentials", ["", ":wrong-word@", "nobody:wrong-word@"])
def test_refused_credentials_are_named_without_the_password(
    own_valkey: Start, open_redis: Open, credentials: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    server = own_valkey(PASSWORD)
    store = open_redis(f"redis://{credentials}127.0.0.1:{server.port}")
    with pytest.raises(StateStoreError, match=r"'demo' \(127.0.0.1:\d+\): refused") as caught:
        store.get(b"key", 5)
    assert "wrong-word" not in str(caught.value) + repr(store) + caplog.text


def test_a_store_opens_without_its_server_and_finds_it_later(
    own_valkey: Start, open_redis: Open
) -> None:
    server = own_valkey()
    server.stop()
    store = open_redis(server.url)
    with pytest.raises(StateStoreError, match="refused"):
        store.get(b"key", 5)
    server.start()
    server.set("key", "value")
    assert store.get(b"key", 5) == b"value"


def test_a_restart_of_the_server_goes_unnoticed(own_valkey: Start, open_redis: Open) -> None:
    server = own_valkey()
    store = open_redis(server.url)
    with ThreadPoolExecutor(4) as threads:  # Leaves several connections behind.
        assert list(threads.map(lambda _: store.get(b"key", 5), range(50))) == [None] * 50
    server.stop()
    server.start()
    server.set("key", "after")
    assert store.get(b"key", 5) == b"after"


@pytest.mark.parametrize("connected", [True, False], ids=["connected", "not connected"])
def test_a_server_that_hangs_ends_in_an_error_and_may_come_back(
    own_valkey: Start, open_redis: Open, connected: bool
) -> None:
    server = own_valkey()
    server.set("key", "value")
    store = open_redis(server.url, timeout="60s")
    if connected:
        assert store.get(b"key", 5) == b"value"
    server.pause()
    with pytest.raises(StateStoreError, match="took too long"):
        store.get(b"key", 0.1)
    server.resume()
    # An answer that came too late must not be taken for that of the next read.
    assert store.get(b"other", 5) is None
    assert store.get(b"key", 5) == b"value"


class Trickle:
    """A server that answers the command of that name with a byte now and then, without an end."""

    def __init__(self, slow: bytes) -> None:
        self._slow = slow
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        with contextlib.suppress(OSError):
            connection, _ = self._listener.accept()
            with connection:
                while self._slow not in (asked := connection.recv(1000)):
                    connection.sendall(b"+OK\r\n" * asked.count(b"*"))
                connection.sendall(b"+")
                while True:
                    connection.sendall(b"x")
                    time.sleep(0.01)

    def close(self) -> None:
        self._listener.close()
        self._thread.join()


@pytest.mark.parametrize("hiredis", [True, False], ids=["hiredis", "redis-py"])
@pytest.mark.parametrize("slow", [b"GET", b"AUTH"])
def test_a_server_that_never_comes_to_an_end_is_left(
    open_redis: Open, monkeypatch: pytest.MonkeyPatch, slow: bytes, hiredis: bool
) -> None:
    if not hiredis:
        monkeypatch.setattr("anywasm.server.state.redis_wire.hiredis", None)
    with contextlib.closing(Trickle(slow)) as server:
        store = open_redis(f"redis://:pass@127.0.0.1:{server.port}", timeout="60s")
        with pytest.raises(StateStoreError, match="took too long"):
            store.get(b"key", 0.3)


def test_the_stores_own_timeout_holds_where_the_caller_has_more_time(
    own_valkey: Start, open_redis: Open
) -> None:
    server = own_valkey()
    store = open_redis(server.url, timeout="100ms")
    server.pause()
    with pytest.raises(StateStoreError, match="took too long"):
        store.get(b"key", 3600)


def test_no_time_left_is_an_error_and_not_a_read(valkey: RedisServer, open_redis: Open) -> None:
    with pytest.raises(StateStoreError, match="took too long"):
        open_redis(valkey.url).get(b"key", 0)


def test_threads_get_their_own_answers(valkey: RedisServer, open_redis: Open) -> None:
    for number in range(20):
        valkey.set(f"number {number}", str(number))
    store = open_redis(valkey.url)

    def read(index: int) -> bool:
        number = index % 20
        return store.get(f"number {number}".encode(), 30) == str(number).encode()

    with ThreadPoolExecutor(8) as threads:
        assert all(threads.map(read, range(800)))


def test_something_else_than_redis_is_an_error(open_redis: Open) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener, ThreadPoolExecutor(1) as thread:

        def answer() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(1000)
                connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

        served = thread.submit(answer)
        store = open_redis(f"redis://127.0.0.1:{listener.getsockname()[1]}")
        with pytest.raises(StateStoreError, match="state store 'demo'"):
            store.get(b"key", 5)
        served.result(5)


def test_a_host_name_that_cannot_be_is_an_error(open_redis: Open) -> None:
    with pytest.raises(StateStoreError):
        open_redis(f"redis://{'a' * 70}.invalid").get(b"key", 5)


def test_a_closed_store_says_so(valkey: RedisServer, open_redis: Open) -> None:
    store = open_redis(valkey.url)
    store.get(b"key", 5)
    store.close()
    store.close()
    with pytest.raises(StateStoreError, match="closed"):
        store.get(b"key", 5)


@pytest.mark.parametrize(
    "url",
    [
        "http://:hunter2@127.0.0.1",
        "redis://:hun/ter2@127.0.0.1",
        "redis://:hunter2@127.0.0.1:hunter2",
        "redis://:hunter2@127.0.0.1/0?no_such_option=hunter2",
    ],
)
def test_a_wrong_url_is_refused_without_repeating_it(open_redis: Open, url: str) -> None:
    with pytest.raises(ConfigError, match=r"^state_stores.demo.*url") as caught:
        open_redis(url)
    text = str(caught.value)
    assert "hun" not in text
    assert caught.value.__cause__ is None


def test_without_redis_py_the_remedy_is_named(
    open_redis: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "redis", None)
    with pytest.raises(ConfigError, match=r"pip install 'anywasm\[redis\]'"):
        open_redis("redis://127.0.0.1")
