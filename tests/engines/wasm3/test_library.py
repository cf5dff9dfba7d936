"""What wasm3 leaves behind of what it took."""

from __future__ import annotations

import threading
from pathlib import Path

import wasmtime

from anywasm.core.registry import get_wasm_engine

_LARGE = 16 << 20


def held() -> int:
    """Bytes of this process's own memory."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) << 10 for line in lines if line.startswith("RssAnon:"))


def test_a_large_memory_goes_back_to_the_system_from_every_thread() -> None:
    pages = _LARGE >> 16
    wasm = bytes(wasmtime.wat2wasm(f'(module (memory (export "memory") {pages}))'))
    module = get_wasm_engine("wasm3").compile(wasm)
    before = held()
    threads = 4
    meeting = threading.Barrier(threads)

    def take_and_give_back() -> None:
        for _ in range(4):
            instance = module.instantiate({})
            memory = instance.exports["memory"]
            memory.write(0, b"x" * _LARGE)
            meeting.wait(60)
            instance.close()
        meeting.wait(60)
        grown.append(held() - before)
        meeting.wait(60)

    grown: list[int] = []
    running = [threading.Thread(target=take_and_give_back) for _ in range(threads)]
    for thread in running:
        thread.start()
    for thread in running:
        thread.join()
    assert len(grown) == threads
    assert max(grown) < 2 * _LARGE
