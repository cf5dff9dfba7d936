"""What a run is told."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Settings:
    """One run.

    Attributes:
        engine: The engine of all plugins.
        seed: What every random choice follows from; how these meet in time does not.
        seconds: How long there is load.
        clients: Connections that send requests all the time.
        workers: Server processes.
    """

    engine: str = "wasmtime"
    seed: int = 1
    seconds: float = 60.0
    clients: int = 16
    workers: int = 1
