"""What the ABI needs from outside, as Protocols: a log, a clock, state, other functions."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from anywasm.abi.calls import GrpcCaller, HttpCaller, RedisCaller, Timers
from anywasm.abi.enums import LogLevel
from anywasm.abi.limits import AbiLimits
from anywasm.abi.metrics import GuestMetrics
from anywasm.abi.shared_data import SharedData
from anywasm.abi.shared_queue import SharedQueues
from anywasm.abi.shared_state import SharedDataStore, SharedQueueStore


class LogSink(Protocol):
    """Where the log lines of guests go. Called by any thread."""

    def __call__(self, level: LogLevel, plugin: str, message: str) -> None:
        """Take one line of `plugin`."""


class StateStore(Protocol):
    """A key-value store behind `proxy_get_state`. Thread-safe.

    One whose attribute `waits` is False answers at once, so that guests are not suspended for it.
    One with `get_soon`, a method or None, needs no thread where guests can be suspended (see
    `SoonStateStore`).
    """

    def get(self, key: bytes, timeout: float) -> bytes | None:
        """The value of `key`, or None where there is none.

        Args:
            key: As the guest sent it.
            timeout: Seconds that are left for the answer.

        Raises:
            StateStoreError: When the store cannot answer in time.
        """

    def close(self) -> None:
        """Free its connections."""


class SoonStateStore(StateStore, Protocol):
    """A state store that can be read on an event loop."""

    def get_soon(
        self, key: bytes, timeout: float, tell: Callable[[bytes | Exception | None], None]
    ) -> None:
        """As `get`, without waiting; called on the running event loop.

        Args:
            key: As the guest sent it.
            timeout: Seconds that are left for the answer.
            tell: Called once on the loop, now or later, with the value or what `get` would raise.
        """


@dataclass(frozen=True, slots=True)
class ServiceCall:
    """One `proxy_invoke_service`.

    Attributes:
        id: The function's id.
        method: The method, usually empty.
        param: The request body.
        chain: The ids of the functions that are waiting for this one, outermost first.
        deadline: The `time.monotonic` second by which the answer is needed.
    """

    id: str
    method: str
    param: bytes
    chain: tuple[str, ...]
    deadline: float


class ServiceInvoker(Protocol):
    """Calls another function by its id. Blocks the calling thread; thread-safe."""

    def __call__(self, call: ServiceCall) -> bytes:
        """The function's response body.

        Raises:
            AnyWasmError: For anything but a good answer.
        """


def discard_log(level: LogLevel, plugin: str, message: str) -> None:
    """A `LogSink` that drops everything."""


@dataclass(frozen=True, slots=True)
class HostServices:
    """What one host gives to its guests.

    Attributes:
        log: Where their log lines go.
        log_level: The least severe level that is kept; guests may ask for it.
        state_stores: The stores by name.
        invoke: How they call each other, or None where they cannot.
        http: How they call HTTP upstreams, or None.
        grpc: How they call gRPC upstreams, or None.
        redis: How they call Redis, or None.
        timers: What makes them tick, or None.
        shared_data: What they share, by `vm_id`.
        shared_queues: Their queues.
        shared_waits: Whether these two are reached over a network.
        metrics: What they measure.
        limits: How much they may have held for them at a time.
        realtime: Nanoseconds since the epoch.
        monotonic: Nanoseconds of a clock that never goes back.
    """

    log: LogSink = discard_log
    log_level: LogLevel = LogLevel.INFO
    state_stores: Mapping[str, StateStore] = field(default_factory=dict)
    invoke: ServiceInvoker | None = None
    http: HttpCaller | None = None
    grpc: GrpcCaller | None = None
    redis: RedisCaller | None = None
    timers: Timers | None = None
    shared_data: SharedDataStore = field(default_factory=SharedData)
    shared_queues: SharedQueueStore = field(default_factory=SharedQueues)
    shared_waits: bool = False
    metrics: GuestMetrics = field(default_factory=GuestMetrics)
    limits: AbiLimits = field(default_factory=AbiLimits)
    realtime: Callable[[], int] = time.time_ns
    monotonic: Callable[[], int] = time.monotonic_ns
