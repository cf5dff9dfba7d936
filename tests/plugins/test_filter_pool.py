"""The instances of a filter: which stream gets which, what comes in the place of broken ones."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest

from anywasm.abi.host import HostServices
from anywasm.core.errors import AnyWasmError, DeadlineExceededError, TrapError
from anywasm.plugins import filter_pool
from anywasm.plugins.config import PluginConfig
from anywasm.plugins.errors import FilterFailedError, FilterStartingError, PoolClosedError
from anywasm.plugins.failures import Failure
from anywasm.plugins.filter_pool import FilterPool
from anywasm.plugins.host import PluginHost
from anywasm.plugins.manager import PluginManager
from anywasm.plugins.slot import Slot

Later = Callable[..., Future[Any]]

REFUSES = "(return (i32.const 0))"


class Filters:
    """A manager of filters, without streams: these tests bind and unbind themselves."""

    def __init__(self, folder: Path, make_guest: Callable[..., bytes]) -> None:
        self._folder = folder
        self._make_guest = make_guest
        self.host = PluginHost(HostServices(), filters={"f"})
        self.manager = PluginManager(self.host, drain_timeout=0.2)

    def config(self, life: dict[str, str] | None = None, **options: Any) -> PluginConfig:
        path = self._folder / "f.wasm"
        path.write_bytes(self._make_guest("f", **(life or {})))
        vm = {"engine": options.pop("engine", "wasmtime"), "path": str(path)}
        options.setdefault("execution", "inline")  # it imports what may block
        options.setdefault("reload_backoff", {"base": 0.001, "max": 0.002})
        return PluginConfig.model_validate({"name": "f", "vm_config": vm, **options})

    def add(self, **options: Any) -> FilterPool:
        self.manager.add(self.config(**options))
        return self.pool

    @property
    def pool(self) -> FilterPool:
        return self.manager.get("f").plugin.filters

    @staticmethod
    def bound(pool: FilterPool) -> Slot:
        slot = pool.bind()
        assert slot is not None
        return slot

    @staticmethod
    def break_(slot: Slot, error: type[AnyWasmError] = TrapError) -> None:
        """Have the guest trap, or never return, outside any stream."""
        name = "trap" if error is TrapError else "loop"
        with pytest.raises(error):
            slot.guest.call(slot.root, slot.guest.instance.exports[name], limit=0.05)


@pytest.fixture
def filters(tmp_path: Path, make_guest: Callable[..., bytes]) -> Iterator[Filters]:
    def with_breaks(id: str, **life: str) -> bytes:
        return make_guest(
            id,
            **life,
            # The last function's body ends the module's text: two exports more.
            on_delete=life.get("on_delete", "")
            + ')(func (export "trap") unreachable)(func (export "loop") (loop (br 0))',
        )

    made = Filters(tmp_path, with_breaks)
    yield made
    made.manager.close()


def test_a_stream_gets_the_instance_with_the_fewest(filters: Filters) -> None:
    pool = filters.add(instance_num=3)
    first = [filters.bound(pool) for _ in range(6)]
    assert sorted(slot.streams for slot in pool.slots) == [2, 2, 2]
    assert pool.idle == 0
    pool.unbind(first[0])
    assert filters.bound(pool) is first[0]
    for slot in first:
        pool.unbind(slot)
    assert pool.idle == 3
    assert all(slot.streams == 0 for slot in pool.slots)


def test_it_works_on_every_engine(filters: Filters, engine: str) -> None:
    # Filters are made where they are called: here, in this thread.
    pool = filters.add(engine=engine)
    slot = filters.bound(pool)
    filters.break_(slot)
    pool.unbind(slot)
    again = filters.bound(pool)
    assert again is not slot
    pool.unbind(again)


def test_a_new_instance_stays_while_the_broken_one_has_streams(filters: Filters) -> None:
    pool = filters.add()
    broken = filters.bound(pool)
    filters.break_(broken)
    for _ in range(5):
        fresh = filters.bound(pool)
        assert fresh is not broken
        pool.unbind(fresh)
        assert fresh in pool.slots
    assert pool.replaced == 1
    assert not broken.guest.instance.closed
    pool.unbind(broken)
    pool.unbind(filters.bound(pool))
    assert broken.guest.instance.closed
    assert len(pool.slots) == 1


def test_all_broken_ones_are_replaced_in_time(filters: Filters) -> None:
    pool = filters.add(instance_num=3)
    slots = [filters.bound(pool) for _ in range(3)]
    for slot in slots:
        filters.break_(slot)
        pool.unbind(slot)

    def working() -> int:
        try:
            pool.unbind(filters.bound(pool))
        except FilterFailedError:
            threading.Event().wait(0.002)
        return sum(slot.guest.failed is None for slot in pool.slots)

    for _ in range(1000):
        if working() == 3:
            break
    assert len(pool.slots) == 3
    assert not set(pool.slots) & set(slots)
    assert all(slot.guest.instance.closed for slot in slots)


@pytest.mark.parametrize("policy", ["fail_closed", "fail_open"])
def test_other_policies_replace_nothing(filters: Filters, policy: str) -> None:
    pool = filters.add(failure_policy=policy)
    slot = filters.bound(pool)
    filters.break_(slot)
    pool.unbind(slot)
    for _ in range(3):
        if policy == "fail_open":
            assert pool.bind() is None
        else:
            with pytest.raises(FilterFailedError, match="unreachable"):
                pool.bind()
    assert pool.replaced == 0


def test_one_that_took_too_long_is_replaced_even_under_fail_closed(filters: Filters) -> None:
    pool = filters.add(failure_policy="fail_closed")
    slot = filters.bound(pool)
    filters.break_(slot, DeadlineExceededError)
    pool.unbind(slot)
    pool.unbind(filters.bound(pool))
    assert pool.replaced == 1


def test_fail_closed_serves_with_the_instances_that_are_left(filters: Filters) -> None:
    pool = filters.add(failure_policy="fail_closed", instance_num=2)
    slot = filters.bound(pool)
    filters.break_(slot)
    pool.unbind(slot)
    for _ in range(3):
        other = filters.bound(pool)
        assert other is not slot
        pool.unbind(other)


def test_one_that_breaks_again_at_once_is_waited_for(filters: Filters) -> None:
    pool = filters.add(reload_backoff={"base": 60, "max": 60})
    for _ in range(2):
        slot = filters.bound(pool)
        filters.break_(slot)
        pool.unbind(slot)
    with pytest.raises(FilterFailedError, match=r"started again in \d+\.\d s"):
        pool.bind()
    assert pool.replaced == 1


def test_no_stream_passes_while_another_thread_makes_an_instance(filters: Filters) -> None:
    """The stream has found none, and before it makes one there is one."""
    filters.add()
    plugin = filters.manager.get("f").plugin

    def resize(_: Failure) -> None:
        thread = threading.Thread(target=pool.resize, args=(1,))
        thread.start()
        thread.join()

    pool = FilterPool("f", plugin._make_filter, 1, report=resize)
    pool.start()
    slot = filters.bound(pool)
    filters.break_(slot)
    pool.unbind(slot)
    assert filters.bound(pool).guest.failed is None
    assert len(pool.slots) == 1
    pool.unbind(pool.slots[0])
    pool.close(0)


def test_one_that_cannot_be_made_again_is_a_failure(filters: Filters) -> None:
    pool = filters.add()
    slot = filters.bound(pool)
    filters.break_(slot)
    pool.unbind(slot)
    filters.manager.get("f").plugin.module.close()
    with pytest.raises(FilterFailedError, match="cannot start"):
        pool.bind()


def test_more_and_fewer_instances(filters: Filters) -> None:
    pool = filters.add(instance_num=2)
    held = [filters.bound(pool) for _ in range(2)]
    filters.manager.resize("f", 1)
    assert len(pool.slots) == 2  # both serve streams
    pool.unbind(held[0])
    assert list(pool.slots) == held[1:]
    filters.manager.resize("f", 3)
    assert len(pool.slots) == 3
    pool.unbind(held[1])
    assert pool.idle == 3
    filters.manager.resize("f", 1)
    assert len(pool.slots) == 1


def test_broken_ones_do_not_count_when_the_number_changes(filters: Filters) -> None:
    pool = filters.add(instance_num=2)
    broken = filters.bound(pool)
    filters.break_(broken)
    filters.manager.resize("f", 1)
    assert sum(slot.guest.failed is None for slot in pool.slots) == 1
    pool.unbind(broken)
    slot = filters.bound(pool)
    assert slot.guest.failed is None
    pool.unbind(slot)
    assert pool.slots == (slot,)


def test_a_closed_pool_waits_for_its_streams(filters: Filters, later: Later) -> None:
    pool = filters.add(instance_num=2)
    slot = filters.bound(pool)
    closing = later(pool.close, 20.0)
    while len(pool.slots) == 2 and not pool._closed:
        threading.Event().wait(0.001)
    with pytest.raises(PoolClosedError):
        pool.bind()
    assert not slot.guest.instance.closed
    pool.unbind(slot)
    assert closing.result(20) is True
    assert slot.guest.instance.closed
    assert pool.slots == ()


def test_a_pool_that_stops_waiting_frees_the_rest_when_it_ends(filters: Filters) -> None:
    pool = filters.add()
    slot = filters.bound(pool)
    assert pool.close(0.0) is False
    assert not slot.guest.instance.closed
    pool.unbind(slot)
    assert slot.guest.instance.closed


def test_instances_come_and_go_while_streams_do(filters: Filters, later: Later) -> None:
    pool = filters.add(instance_num=2)
    done = threading.Event()

    def streams() -> int:
        count = 0
        while not done.is_set():
            slot = filters.bound(pool)
            stream = slot.guest.create_stream(slot.root)
            slot.guest.end(stream)
            pool.unbind(slot)
            count += 1
        return count

    running = later(streams)
    for number in (1, 3, 2, 4, 1, 2):
        filters.manager.resize("f", number)
    done.set()
    assert running.result(20) > 0
    assert pool.idle == len(pool.slots) == 2


def test_a_stream_that_ends_while_a_pool_grows_takes_no_instance_away(
    filters: Filters, monkeypatch: pytest.MonkeyPatch
) -> None:
    pool = filters.add(instance_num=2)
    busy = [filters.bound(pool), filters.bound(pool)]
    pool.resize(1)
    assert pool.slots == tuple(busy)
    make = pool._make

    def make_meanwhile() -> Slot:
        pool.unbind(busy[0])
        return make()

    monkeypatch.setattr(pool, "_make", make_meanwhile)
    pool.resize(3)
    assert len(pool.slots) == 3
    pool.unbind(busy[1])
    assert pool.idle == len(pool.slots) == 3


def test_nothing_is_left_of_a_filter_that_refuses(filters: Filters) -> None:
    with pytest.raises(AnyWasmError, match="refused to start"):
        filters.add(life={"on_configure": REFUSES}, instance_num=3)
    assert filters.manager.list() == ()


def test_one_whose_start_takes_long_is_started_in_another_thread(
    filters: Filters, monkeypatch: pytest.MonkeyPatch, later: Later
) -> None:
    monkeypatch.setattr(filter_pool, "CHEAP_START", 0.0)
    pool = filters.add()
    slot = filters.bound(pool)
    filters.break_(slot)
    pool.unbind(slot)
    make = pool._make
    threads: list[threading.Thread] = []
    may_start = threading.Event()

    def make_slowly() -> Slot:
        threads.append(threading.current_thread())
        assert may_start.wait(20)
        return make()

    monkeypatch.setattr(pool, "_make", make_slowly)
    for _ in range(3):
        with pytest.raises(FilterStartingError) as caught:
            pool.bind()
    assert pool.circuit.state == "half_open"
    started = threading.Event()
    caught.value.wait(started.set)
    may_start.set()
    assert started.wait(20)
    pool.unbind(filters.bound(pool))
    assert pool.circuit.state == "closed"
    assert [thread is threading.main_thread() for thread in threads] == [False]
    late = threading.Event()
    caught.value.wait(late.set)
    assert late.is_set()


def test_a_closed_pool_keeps_nothing_that_is_being_started(
    filters: Filters, monkeypatch: pytest.MonkeyPatch, later: Later
) -> None:
    monkeypatch.setattr(filter_pool, "CHEAP_START", 0.0)
    pool = filters.add()
    slot = filters.bound(pool)
    filters.break_(slot)
    pool.unbind(slot)
    make = pool._make
    made: list[Slot] = []

    def make_when_closed() -> Slot:
        while not pool._closed:
            threading.Event().wait(0.001)
        made.append(make())
        return made[0]

    monkeypatch.setattr(pool, "_make", make_when_closed)
    with pytest.raises(FilterStartingError):
        pool.bind()
    assert later(pool.close, 20.0).result(20)
    assert pool.slots == ()
    assert made[0].guest.instance.closed


@pytest.mark.parametrize(
    ("policy", "state", "tried"),
    [("fail_reload", "open", True), ("fail_closed", "open", False), ("fail_open", "open", False)],
)
def test_the_circuit_tells_what_happened(
    filters: Filters, policy: str, state: str, tried: bool
) -> None:
    pool = filters.add(failure_policy=policy, reload_backoff={"base": 60, "max": 60})
    began = pool.circuit.since
    assert (pool.circuit.state, pool.circuit.failures, pool.circuit.last) == ("closed", 0, None)
    for _ in range(2 if tried else 1):
        slot = filters.bound(pool)
        filters.break_(slot)
        pool.unbind(slot)
    circuit = pool.circuit
    told = circuit.describe()
    assert (told["state"], told["failure_policy"]) == (state, policy)
    assert began < told["since"]
    assert "unreachable" in told["last_failure"]["error"]
    # 60 s, and up to a fifth more or less.
    assert (told["next_try"] is not None) is tried
    assert not tried or 45 < told["next_try"] - told["since"] < 75
