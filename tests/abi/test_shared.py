"""Data and queues that guests share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from anywasm.abi import guest, shared_queue
from anywasm.abi.plugin import PluginIdentity
from anywasm.abi.shared_data import KEY_COST, SharedData
from anywasm.abi.shared_queue import MAX_NAME, SharedQueues

ONE, TWO = PluginIdentity("one", vm_id="vm1"), PluginIdentity("two", vm_id="vm2")
SET, GET = "proxy_set_shared_data", "proxy_get_shared_data"
REGISTER, RESOLVE = "proxy_register_shared_queue", "proxy_resolve_shared_queue"
ENQUEUE, DEQUEUE = "proxy_enqueue_shared_queue", "proxy_dequeue_shared_queue"

# --- data ----------------------------------------------------------------------------------------


def test_a_value_is_replaced_by_who_read_it_last(probe: Any) -> None:
    assert probe.tell(GET, "k") == 1
    assert probe.tell(SET, "k", "v1", 0) == 0
    value, cas = probe.tell(GET, "k")
    assert value == b"v1"
    assert cas
    assert probe.tell(SET, "k", "v2", cas) == 0
    assert probe.tell(SET, "k", "v3", cas) == 8
    value, later = probe.tell(GET, "k")
    assert (value, later) == (b"v2", cas + 1)
    assert probe.tell(SET, "k", "v4", 0) == 0
    assert probe.tell(GET, "k") == (b"v4", cas + 2)


def test_a_new_key_takes_any_number(probe: Any) -> None:
    assert probe.tell(SET, "k", "v", 12345) == 0
    assert probe.tell(GET, "k")[0] == b"v"


def test_an_empty_value_is_a_value(probe: Any) -> None:
    probe.tell(SET, "k", "", 0)
    assert probe.tell(GET, "k")[0] == b""
    assert probe.tell(SET, "", "nameless", 0) == 0
    assert probe.tell(GET, "")[0] == b"nameless"


def test_only_guests_of_one_vm_id_share(probing: Callable[..., Any]) -> None:
    data = SharedData()
    one, same, other = (probing(who, shared_data=data) for who in (ONE, ONE, TWO))
    one.tell(SET, "k", "v", 0)
    assert same.tell(GET, "k")[0] == b"v"
    assert other.tell(GET, "k") == 1


def test_what_is_shared_goes_with_its_last_holder(probing: Callable[..., Any]) -> None:
    data, queues = SharedData(), SharedQueues()
    probe = probing(ONE, shared_data=data, shared_queues=queues)
    for store in (data, queues):
        store.hold("vm1")
        store.hold("vm1")
        store.hold("other")
    probe.tell(SET, "k", "v", 0)
    queues.register("vm1", b"q", lambda token: None)
    for store in (data, queues):
        store.release("vm1")
        store.release("other")
    assert probe.tell(GET, "k")[0] == b"v"
    token = queues.resolve("vm1", b"q")
    for store in (data, queues):
        store.release("vm1")
    assert probe.tell(GET, "k") == 1
    assert queues.resolve("vm1", b"q") is None
    assert queues.register("vm1", b"q", lambda token: None) != token


def test_a_number_never_comes_again(probe: Any) -> None:
    seen = set()
    for key in ("a", "b", "a", "c", "a"):
        probe.tell(SET, key, "v", 0)
        seen.add(probe.tell(GET, key)[1])
    assert len(seen) == 5


def test_a_flood_of_data_ends_at_the_limit(probing: Callable[..., Any]) -> None:
    probe = probing(ONE, shared_data=SharedData(3 * (KEY_COST + 8)))
    for key in ("key1", "key2", "key3"):
        assert probe.tell(SET, key, "1234", 0) == 0
    assert probe.tell(SET, "key4", "", 0) == 10
    assert probe.tell(SET, "key1", "12345", 0) == 10
    assert probe.tell(GET, "key1")[0] == b"1234"
    assert probe.tell(SET, "key1", "", 0) == 0
    assert probe.tell(SET, "key2", "12345678", 0) == 0


# --- queues --------------------------------------------------------------------------------------


def test_items_come_in_order_once(probe: Any) -> None:
    (token,) = probe.tell(REGISTER, "q")
    assert token
    assert probe.tell(DEQUEUE, token) == 7
    for item in ("1", "", "3"):
        assert probe.tell(ENQUEUE, token, item) == 0
    assert [probe.tell(DEQUEUE, token) for _ in range(4)] == [(b"1",), (b"",), (b"3",), 7]


def test_registering_again_keeps_token_and_items(probe: Any) -> None:
    (token,) = probe.tell(REGISTER, "q")
    probe.tell(ENQUEUE, token, "kept")
    assert probe.tell(REGISTER, "q") == (token,)
    assert probe.tell(REGISTER, "other") != (token,)
    assert probe.tell(DEQUEUE, token) == (b"kept",)


def test_a_queue_is_found_by_vm_id_and_name(probing: Callable[..., Any]) -> None:
    queues = SharedQueues()
    one, two = probing(ONE, shared_queues=queues), probing(TWO, shared_queues=queues)
    (token,) = one.tell(REGISTER, "q")
    assert two.tell(RESOLVE, "vm1", "q") == (token,)
    assert one.tell(RESOLVE, "", "q") == (token,)
    assert one.tell(RESOLVE, "vm1", "q") == (token,)
    for asked in (two.tell(RESOLVE, "", "q"), one.tell(RESOLVE, "vm1", "r")):
        assert asked == 1
    assert two.tell(RESOLVE, b"\xff\xfe", "q") == 1
    (mine,) = two.tell(REGISTER, "q")
    assert mine != token


@pytest.mark.parametrize("token", [0, 1, 999, 0xFFFFFFFF])
def test_an_unknown_token_is_not_found(probe: Any, token: int) -> None:
    assert probe.tell(ENQUEUE, token, "x") == 1
    assert probe.tell(DEQUEUE, token) == 1


def test_the_owner_is_told_of_each_item_of_another_guest(scripted: Callable[..., Any]) -> None:
    queues = SharedQueues()
    owner = scripted(
        "configure proxy_register_shared_queue q\nqueue_ready proxy_dequeue_shared_queue 1",
        vm_id="vm1",
        shared_queues=queues,
    )
    sender = scripted(
        "request_headers proxy_resolve_shared_queue vm1 q\n"
        "request_headers proxy_enqueue_shared_queue 1 first\n"
        "request_headers proxy_enqueue_shared_queue 1 second",
        vm_id="vm2",
        shared_queues=queues,
    )
    owner.start()
    root = sender.start()
    stream = sender.guest.create_stream(root)
    sender.guest.call(stream, sender.guest.callbacks.on_request_headers, stream.id, 0, 1)
    assert [line.split("[")[0] for line in sender.said()][2:] == [
        "proxy_resolve_shared_queue = 0 1",
        "proxy_enqueue_shared_queue = 0",
        "proxy_enqueue_shared_queue = 0",
    ]
    assert owner.said() == [
        "queue_ready 1 1",
        "proxy_dequeue_shared_queue = 0 [first]",
        "queue_ready 1 1",
        "proxy_dequeue_shared_queue = 0 [second]",
    ]


def test_a_guest_is_told_of_its_own_items_after_the_call(scripted: Callable[..., Any]) -> None:
    told = scripted(
        "configure proxy_register_shared_queue q\n"
        "configure proxy_enqueue_shared_queue 1 a\n"
        "configure proxy_enqueue_shared_queue 1 b\n"
        "configure proxy_dequeue_shared_queue 1\n"
        "queue_ready proxy_dequeue_shared_queue 1"
    )
    told.guest.create_root(told.identity)
    # One call per item that was put in, whoever has taken it since, as in Envoy.
    assert told.said()[-5:] == [
        "proxy_dequeue_shared_queue = 0 [a]",
        "queue_ready 1 1",
        "proxy_dequeue_shared_queue = 0 [b]",
        "queue_ready 1 1",
        "proxy_dequeue_shared_queue = 7",
    ]


def test_the_last_to_register_is_told(scripted: Callable[..., Any]) -> None:
    queues = SharedQueues()
    script = "configure proxy_register_shared_queue q\ntick proxy_enqueue_shared_queue 1 x"
    first, second = (scripted(script, shared_queues=queues) for _ in range(2))
    root = first.start()
    second.start()
    first.guest.call(root, first.guest.callbacks.on_tick, root.id)
    assert "queue_ready 1 1" not in first.said()
    assert second.said() == ["queue_ready 1 1"]
    # Once its owner has gone a queue keeps its items, and nobody is told.
    second.guest.close()
    second.said()
    first.guest.call(root, first.guest.callbacks.on_tick, root.id)
    assert second.said() == []
    assert [queues.dequeue(1), queues.dequeue(1)] == [b"x", b"x"]


def test_a_failed_guest_is_not_told(scripted: Callable[..., Any]) -> None:
    queues = SharedQueues()
    owner = scripted("configure proxy_register_shared_queue q\ntick nothing", shared_queues=queues)
    root = owner.start()
    with pytest.raises(Exception, match="unreachable"):
        owner.guest.call(root, owner.guest.callbacks.on_tick, root.id)
    owner.said()
    assert queues.enqueue(1, b"x") == 0
    assert owner.said() == []


def test_a_guest_that_feeds_itself_does_not_hang_its_host(
    scripted: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(guest, "_MOST_DEFERRED", 2000)
    fed = scripted(
        "configure proxy_register_shared_queue q\n"
        "configure proxy_enqueue_shared_queue 1 x\n"
        "queue_ready proxy_dequeue_shared_queue 1\n"
        "queue_ready proxy_enqueue_shared_queue 1 x",
        log=lambda level, plugin, line: None,
    )
    root = fed.guest.create_root(fed.identity)
    assert fed.guest.services.shared_queues.dequeue(1) == b"x"
    assert fed.guest.failed is None
    assert fed.guest.create_stream(root).id == 2


def test_floods_of_queues_and_items_end_at_the_limits(
    probing: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shared_queue, "MAX_QUEUES", 3)
    monkeypatch.setattr(shared_queue, "MAX_TOTAL_BYTES", 12)
    probe = probing(ONE, shared_queues=SharedQueues(max_items=3, max_bytes=8))
    assert probe.tell(REGISTER, b"x" * (MAX_NAME + 1)) == 10
    tokens = [probe.tell(REGISTER, name)[0] for name in ("a", "b", "c")]
    assert probe.tell(REGISTER, "d") == 10
    assert probe.tell(REGISTER, "a") == (tokens[0],)
    assert [probe.tell(ENQUEUE, tokens[0], "") for _ in range(4)] == [0, 0, 0, 10]
    assert probe.tell(ENQUEUE, tokens[1], "123456789") == 10
    assert probe.tell(ENQUEUE, tokens[1], "12345678") == 0
    assert probe.tell(ENQUEUE, tokens[2], "12345") == 10  # all queues together
    assert probe.tell(DEQUEUE, tokens[1]) == (b"12345678",)
    assert probe.tell(ENQUEUE, tokens[2], "12345") == 0
