"""What a guest waits for while it is suspended, and how a host function comes to suspend it.

A host function that would block asks its guest for a `Wait` first (`Guest.wait_for`), where the
guest can be suspended. It is then called a second time with the same arguments, to take the answer
(`Guest.take_answer`) and give it to the guest. So it needs to know nothing about how guests are
suspended, and what marshals its arguments need not either.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

from anywasm.core.suspending import Suspending

if TYPE_CHECKING:
    from anywasm.abi.guest import Guest
    from anywasm.abi.host import ServiceCall, StateStore


@dataclass(frozen=True, slots=True)
class StateRead:
    """A read from a state store; its answer is what `StateStore.get` returns.

    Attributes:
        store: The store.
        key: As the guest sent it.
        timeout: Seconds that are left for the answer.
    """

    store: StateStore
    key: bytes
    timeout: float


#: What a guest may wait for. The answer to a `ServiceCall` is what `ServiceInvoker` returns.
Wait: TypeAlias = "StateRead | ServiceCall"


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of a wait.

    Attributes:
        value: The answer.
        error: What was raised in its place, or None.
    """

    value: Any = None
    error: Exception | None = None

    def take(self) -> Any:
        """The answer.

        Raises:
            Exception: The error, if there is one.
        """
        if self.error is not None:
            raise self.error
        return self.value


def suspending(guest: Guest, host: Callable[..., int]) -> Suspending:
    """The import for a host function that may ask its guest to wait.

    What it yields are `Wait`s, and it is to be sent an `Answer` for each.
    """

    def call(*args: int) -> int | Generator[Any, Answer, int]:
        status = host(*args)
        return status if guest.waits_for is None else wait(args)

    def wait(args: tuple[int, ...]) -> Generator[Any, Answer, int]:
        while True:
            asked, guest.waits_for = guest.waits_for, None
            guest.answer = yield asked
            try:
                status = host(*args)
            finally:
                guest.answer = None
            if guest.waits_for is None:
                return status

    return Suspending(call)
