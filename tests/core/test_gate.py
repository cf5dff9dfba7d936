from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from anywasm.core.errors import ClosedError, ConcurrencyError, DeadlineExceededError
from anywasm.core.gate import CallGate, Deadline


def test_open_gate_has_nothing_to_say() -> None:
    gate = CallGate("it")
    assert not gate.alert
    assert not gate.closed
    gate.check()
    gate.check_usable()
    gate.check_home()


def test_one_thread_enters_again_and_another_does_not() -> None:
    gate = CallGate("it")
    assert gate.acquire(False)
    assert gate.acquire(False)
    with ThreadPoolExecutor(1) as pool:
        assert not pool.submit(gate.acquire, False).result()
        with pytest.raises(ConcurrencyError, match="it cannot be closed while a call is running"):
            pool.submit(gate.close).result()
        gate.release()
        assert not pool.submit(gate.acquire, False).result()
        gate.release()
        assert pool.submit(gate.acquire, False).result()
        pool.submit(gate.release).result()
    with pytest.raises(ConcurrencyError, match="it is in use by another thread"):
        gate.refuse()


def test_close() -> None:
    gate = CallGate("it")
    assert gate.acquire(False)
    with pytest.raises(ConcurrencyError):
        gate.close()
    assert not gate.closed
    gate.release()
    assert gate.close()
    assert not gate.close()
    assert gate.closed
    assert gate.alert
    for check in (gate.check, gate.check_usable):
        with pytest.raises(ClosedError, match="it is closed"):
            check()


def test_gate_bound_to_its_thread() -> None:
    gate = CallGate("it", thread_bound=True)
    assert gate.alert
    gate.check()
    with ThreadPoolExecutor(1) as pool:
        for call in (gate.check, gate.check_usable, gate.check_home, gate.close):
            with pytest.raises(ConcurrencyError, match="belongs to the thread that made it"):
                pool.submit(call).result()
    with Deadline(gate, 60):
        pass
    assert gate.alert
    assert gate.close()


def test_thread_that_inherits_a_number_is_another_thread() -> None:
    made: list[tuple[int, CallGate]] = []
    refused: list[bool] = []

    def make() -> None:
        made.append((threading.get_ident(), CallGate("it", thread_bound=True)))

    def use() -> None:
        for ident, gate in made:
            if ident == threading.get_ident():
                with pytest.raises(ConcurrencyError):
                    gate.check()
                refused.append(True)

    for target in [make] * 20 + [use] * 20:
        thread = threading.Thread(target=target)
        thread.start()
        thread.join()
    assert refused


def test_pending_is_taken_once() -> None:
    gate = CallGate("it")
    error = ValueError()
    gate.pending = error
    assert gate.take_pending() is error
    assert gate.take_pending() is None


def test_deadline_sets_the_alert_and_takes_it_back() -> None:
    gate = CallGate("it")
    with Deadline(gate, 60):
        assert gate.alert
        assert gate.expires is not None
        gate.check()
    assert not gate.alert
    assert gate.expires is None


def test_expired_deadline() -> None:
    gate = CallGate("it")
    with Deadline(gate, 0):
        gate.check_usable()
        with pytest.raises(DeadlineExceededError, match="the deadline for it has passed") as caught:
            gate.check()
    assert isinstance(caught.value, TimeoutError)
    gate.check()


def test_nested_deadlines_take_the_earlier_and_give_it_back() -> None:
    gate = CallGate("it")
    with Deadline(gate, 60):
        outer = gate.expires
        assert outer is not None
        with Deadline(gate, 3600):
            assert gate.expires == outer
        with Deadline(gate, 1):
            assert gate.expires is not None
            assert gate.expires < outer
        assert gate.expires == outer
        with pytest.raises(KeyError), Deadline(gate, 1):
            raise KeyError
        assert gate.expires == outer
    assert gate.expires is None


def test_deadline_counts_from_when_it_was_asked_for() -> None:
    gate = CallGate("it")
    deadline = Deadline(gate, 0.01)
    threading.Event().wait(0.03)
    with deadline, pytest.raises(DeadlineExceededError):
        gate.check()


def test_closed_under_a_deadline_stays_closed() -> None:
    gate = CallGate("it")
    with Deadline(gate, 60):
        assert gate.close()
    assert gate.alert
    with pytest.raises(ClosedError):
        gate.check()
