"""Whether a plugin serves, since when, why not, and when it is tried again."""

from __future__ import annotations

import random
import time
from enum import Enum
from typing import Any

from anywasm.plugins.failures.failure import Failure

# More doublings than this only overflow.
_MOST_DOUBLINGS = 64


class CircuitState(str, Enum):
    """The states of a circuit breaker."""

    CLOSED = "closed"
    """An instance works, and requests reach it."""
    HALF_OPEN = "half_open"
    """None works; one is being started."""
    OPEN = "open"
    """None works; the failure policy says what becomes of requests and when one is started."""


class Circuit:
    """The failures of one version of a plugin. Its pool calls it, under the pool's lock.

    After a failure the next instance may be made at once; after further ones in a row, each soon
    after the last start, only after a pause that doubles each time, with up to 20 % of jitter, so
    that many hosts do not try at the same moment.

    Args:
        policy: The failure policy, which the pool follows.
        backoff: The first and the longest pause, in seconds.

    Attributes:
        policy: The failure policy.
        state: The state.
        since: When it began, in seconds since the epoch.
        failures: How many there were.
        last: The last failure, or None.
    """

    def __init__(
        self, policy: str = "fail_reload", backoff: tuple[float, float] = (1.0, 30.0)
    ) -> None:
        self.policy = policy
        self.state = CircuitState.CLOSED
        self.since = time.time()
        self.failures = 0
        self.last: Failure | None = None
        self.tries_again = policy == "fail_reload"
        self._first, self._longest = backoff
        self._row = 0
        self._recovered_at = time.monotonic()
        self._retry_at = 0.0

    def broke(self, failure: Failure, *, serving: bool, stuck: bool = False) -> None:
        """Note a failure.

        Args:
            failure: What happened.
            serving: Whether other instances work.
            stuck: Whether the guest took too long, which is not what Envoy's policies are about:
                it is replaced under `fail_closed`, too.
        """
        now = time.monotonic()
        self.failures += 1
        self.last = failure
        self.tries_again = self.policy == "fail_reload" or (stuck and self.policy == "fail_closed")
        # One that lived long breaks by accident; one that breaks at once, by nature.
        self._row = 1 if now - self._recovered_at > self._longest else self._row + 1
        pause = 0.0
        if self._row > 1:
            pause = self._first * 2 ** min(self._row - 2, _MOST_DOUBLINGS)
            pause = min(self._longest, pause) * random.uniform(0.8, 1.2)
        self._retry_at = now + pause
        self._enter(CircuitState.CLOSED if serving else CircuitState.OPEN)

    def trying(self) -> None:
        """Note that an instance is being started; it counts where no other works."""
        if self.state is CircuitState.OPEN:
            self._enter(CircuitState.HALF_OPEN)

    def recovered(self) -> None:
        """Note that an instance was started."""
        self._recovered_at = time.monotonic()
        self._enter(CircuitState.CLOSED)

    def _enter(self, state: CircuitState) -> None:
        if state is not self.state:
            self.state = state
            self.since = time.time()

    @property
    def pause(self) -> float:
        """Seconds until an instance may be made in the place of a broken one."""
        return max(0.0, self._retry_at - time.monotonic())

    @property
    def next_try(self) -> float | None:
        """When that is, in seconds since the epoch; None where nothing is waited for."""
        if self.state is not CircuitState.OPEN or not self.tries_again:
            return None
        return time.time() + self.pause

    def describe(self) -> dict[str, Any]:
        """For the management API."""
        return {
            "state": self.state.value,
            # Of one that never failed it says no more than when each process began.
            "since": self.since if self.failures else None,
            "failure_policy": self.policy,
            "failures": self.failures,
            "next_try": self.next_try,
            "last_failure": None if self.last is None else self.last.describe(),
        }
