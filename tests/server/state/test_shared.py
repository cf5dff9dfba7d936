"""Shared data and queues in a real server, as several processes see them."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from anywasm.abi.enums import Status
from anywasm.abi.shared_data import KEY_COST
from anywasm.abi.shared_queue import MAX_NAME
from anywasm.core.errors import ConfigError
from anywasm.plugins.config import AppConfig
from anywasm.server.state.shared import SharedState, open_shared

Open = Callable[..., SharedState]

FAILED = Status.INTERNAL_FAILURE
LISTENERS = [{"name": "main", "address": "127.0.0.1:0"}]


def soon(seconds: float = 20.0) -> float:
    return time.monotonic() + seconds


@pytest.fixture
def share(request: pytest.FixtureRequest) -> Iterator[Open]:
    """What one process opens; each call is another process."""
    opened: list[Any] = []

    def start(url: str, prefix: str = request.node.name, **limits: Any) -> SharedState:
        store = {"type": "redis", "url": url, "key_prefix": prefix, "timeout": "20s"}
        config = {"listeners": LISTENERS, "shared_store": store, "abi_limits": limits}
        opened.append(open_shared(AppConfig.model_validate(config)))
        return opened[-1]  # type: ignore[no-any-return]

    yield start
    for state in opened:
        state.queues.close()
        state.data._link.close()


def test_what_one_writes_the_other_reads(valkey: Any, share: Open) -> None:
    one, two = share(valkey.url).data, share(valkey.url).data
    assert one.get("vm", b"k", soon()) is None
    assert one.set("vm", b"k", b"\x00\xff", 12345, soon()) is Status.OK  # a new key takes any
    value, number = two.get("vm", b"k", soon())  # type: ignore[misc]
    assert (value, number) == (b"\x00\xff", 1)
    assert two.set("vm", b"k", b"", number, soon()) is Status.OK
    assert one.set("vm", b"k", b"x", number, soon()) is Status.CAS_MISMATCH
    assert one.get("vm", b"k", soon()) == (b"", 2)
    assert one.set("vm", b"k", b"x", 0, soon()) is Status.OK
    assert one.get("other", b"k", soon()) is None


def test_numbers_begin_again_after_the_last(valkey: Any, share: Open) -> None:
    data = share(valkey.url, "last:").data
    data.set("vm", b"k", b"a", 0, soon())
    with valkey.client() as client:
        client.hset("last:data-meta:{vm}", "cas", 2**32 - 2)
    for number in (2**32 - 1, 1):
        data.set("vm", b"k", b"a", 0, soon())
        assert data.get("vm", b"k", soon()) == (b"a", number)
        assert data.set("vm", b"k", b"b", number ^ 2, soon()) is Status.CAS_MISMATCH


def test_data_ends_at_the_limit(valkey: Any, share: Open) -> None:
    data = share(valkey.url, shared_data_bytes=2 * (KEY_COST + 4)).data
    assert data.set("vm", b"k1", b"12", 0, soon()) is Status.OK
    assert data.set("vm", b"k2", b"123", 0, soon()) is FAILED
    assert data.set("vm", b"k2", b"12", 0, soon()) is Status.OK
    assert data.set("vm", b"k1", b"1", 0, soon()) is Status.OK
    assert data.set("vm", b"k2", b"123", 0, soon()) is Status.OK


def test_nobody_loses_an_increment(valkey: Any, share: Open) -> None:
    def count(_: int) -> None:
        data = share(valkey.url).data
        for _ in range(25):
            while True:
                value, number = data.get("vm", b"n", soon()) or (b"0", 0)  # type: ignore[misc]
                new = b"%d" % (int(value) + 1)
                if number and data.set("vm", b"n", new, number, soon()) is Status.OK:
                    break

    share(valkey.url).data.set("vm", b"n", b"0", 0, soon())
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(count, range(4)))
    assert share(valkey.url).data.get("vm", b"n", soon()) == (b"100", 101)


def test_the_last_to_register_is_told_and_the_one_before_after_it(valkey: Any, share: Open) -> None:
    one, two, three = (share(valkey.url).queues for _ in range(3))
    told: queue.Queue[tuple[str, int]] = queue.Queue()

    def teller(who: str) -> Callable[[int], None]:
        return lambda token: told.put((who, token))

    first, second = teller("one"), teller("two")
    token = one.register("vm", b"q", first, soon())
    assert two.register("vm", b"q", second, soon()) == token
    assert three.resolve("vm", b"q", soon()) == token
    assert three.resolve("vm", b"none", soon()) is None
    assert isinstance(token, int)
    assert three.dequeue(token, soon()) is Status.EMPTY
    for number in range(3):
        assert three.enqueue(token, b"%d" % number, soon()) is Status.OK
        assert told.get(timeout=20) == ("two", token)
    assert [one.dequeue(token, soon()) for _ in range(3)] == [b"0", b"1", b"2"]
    two.forget(second)
    three.enqueue(token, b"3", soon())
    assert told.get(timeout=20) == ("one", token)
    one.forget(first)
    three.enqueue(token, b"4", soon())
    # Nobody was there; who comes next hears of it.
    one.register("vm", b"q", teller("again"), soon())
    assert told.get(timeout=20) == ("again", token)
    assert told.empty()


def test_queues_refuse_as_they_do_in_one_process(valkey: Any, share: Open) -> None:
    queues = share(valkey.url, queue_items=2, queue_bytes=3).queues
    token = queues.register("vm", b"q", lambda token: None, soon())
    assert isinstance(token, int)
    assert queues.enqueue(token, b"1234", soon()) is FAILED
    assert [queues.enqueue(token, b"1", soon()) for _ in range(3)] == [
        Status.OK,
        Status.OK,
        FAILED,
    ]
    assert queues.enqueue(token + 1, b"1", soon()) is Status.NOT_FOUND
    assert queues.dequeue(token + 1, soon()) is Status.NOT_FOUND
    assert queues.register("vm", b"x" * (MAX_NAME + 1), lambda token: None, soon()) is FAILED


def test_two_names_never_have_one_token(valkey: Any, share: Open) -> None:
    queues = share(valkey.url).queues
    # CRC-32 is the same of both.
    names = b"plumless", b"buckeroo"
    tokens = [queues.register("", name, lambda token: None, soon()) for name in names]
    assert tokens[0] != tokens[1]
    assert [queues.resolve("", name, soon()) for name in names] == tokens


def test_a_server_that_is_away_fails_calls_in_time_and_comes_back(
    own_valkey: Any, share: Open
) -> None:
    server = own_valkey()
    state = share(server.url)
    told = threading.Semaphore(0)
    token = state.queues.register("vm", b"q", lambda token: told.release(), soon())
    assert isinstance(token, int)
    state.queues.enqueue(token, b"1", soon())
    assert told.acquire(timeout=20)
    server.pause()
    assert state.data.get("vm", b"k", soon(0.2)) is FAILED
    assert state.data.set("vm", b"k", b"v", 0, soon(0.2)) is FAILED
    assert state.queues.dequeue(token, soon(0.2)) is FAILED
    assert state.data.get("vm", b"k", soon(-1)) is FAILED
    server.resume()
    server.stop()
    assert state.data.get("vm", b"k", soon()) is FAILED
    assert state.queues.resolve("vm", b"q", soon()) is FAILED
    server.start()
    assert state.data.set("vm", b"k", b"v", 0, soon()) is Status.OK
    # It has forgotten everything; who listens makes its queues again, under the same token.
    end = soon()
    while state.queues.resolve("vm", b"q", soon()) is None and time.monotonic() < end:
        time.sleep(0.01)
    assert state.queues.resolve("vm", b"q", soon()) == token
    state.queues.enqueue(token, b"2", soon())
    assert told.acquire(timeout=20)
    assert state.queues.dequeue(token, soon()) == b"2"


@pytest.mark.parametrize(
    ("store", "words"),
    [
        ({"type": "etcd"}, 'shared_store.type: unknown type "etcd"'),
        ({"type": "redis", "url": "http://a"}, "shared_store.url: must start with"),
        ({"type": "redis", "url": "redis://a", "x": 1}, "shared_store.x: unknown key"),
        ({"type": "redis", "url": "redis://a:b:c/"}, "shared_store.url: is not understood"),
    ],
)
def test_what_is_wrong_is_named(store: dict[str, Any], words: str) -> None:
    config = AppConfig.model_validate({"listeners": LISTENERS, "shared_store": store})
    with pytest.raises(ConfigError) as raised:
        open_shared(config)
    assert str(raised.value).startswith(words)
