"""Signals to the demo, also where Python drops what they raise."""

from __future__ import annotations

import io
import signal

import pytest

from anywasm.cli.demo.interruption import Interruption

ENDINGS = [
    (signal.SIGINT, KeyboardInterrupt, None),
    (signal.SIGTERM, SystemExit, 143),
    (signal.SIGHUP, SystemExit, 129),
]


class Response(io.RawIOBase):
    """As `http.client`'s: its finalizer is Python code, and a signal comes meanwhile."""

    def __init__(self, number: int) -> None:
        self.number = number

    def close(self) -> None:
        if not self.closed:
            signal.raise_signal(self.number)
        super().close()


def work(number: int, steps: list[str], *, checked: bool) -> None:
    with Interruption() as interruption:
        interruption.check()
        Response(number)  # has no other owner
        steps.append("dropped")
        if checked:
            interruption.check()
        steps.append("went on")


@pytest.mark.parametrize(("number", "kind", "code"), ENDINGS)
@pytest.mark.parametrize("checked", [True, False])
def test_what_comes_in_a_finalizer_is_not_lost(
    number: int, kind: type[BaseException], code: int | None, checked: bool
) -> None:
    before = signal.getsignal(number)
    steps: list[str] = []
    with pytest.raises(kind) as raised:
        work(number, steps, checked=checked)
    assert steps == (["dropped"] if checked else ["dropped", "went on"])
    assert getattr(raised.value, "code", None) == code
    assert signal.getsignal(number) == before


@pytest.mark.parametrize(("number", "kind", "code"), ENDINGS)
def test_what_comes_while_it_works_is_raised_there(
    number: int, kind: type[BaseException], code: int | None
) -> None:
    steps: list[BaseException] = []

    def wait() -> None:
        with Interruption():
            try:
                signal.raise_signal(number)
            except BaseException as error:
                steps.append(error)
                raise

    with pytest.raises(kind) as raised:
        wait()
    assert steps == [raised.value]
    assert getattr(raised.value, "code", None) == code


def test_an_error_hides_no_signal() -> None:
    def fail() -> None:
        with Interruption():
            Response(signal.SIGTERM)
            raise OSError("the server has gone")

    with pytest.raises(SystemExit):
        fail()
