"""The kernels of `wasm/kernels.c` in Python, as one would write them there."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Callable
from typing import Any


def fib(n: int) -> int:
    """A Fibonacci number, by recursion."""
    return n if n < 2 else fib(n - 1) + fib(n - 2)


def sieve(n: int) -> int:
    """How many primes are below `n`."""
    prime = bytearray(b"\1") * n
    found = 0
    for i in range(2, n):
        if prime[i]:
            found += 1
            for k in range(2 * i, n, i):
                prime[k] = 0
    return found


def matrix(n: int) -> int:
    """The sum of the product of two matrices."""
    a = [[float(i + k) for k in range(n)] for i in range(n)]
    columns = [[float(i * k % 7) for i in range(n)] for k in range(n)]
    return int(sum(sum(x * y for x, y in zip(row, column)) for row in a for column in columns))


def sha256(n: int) -> int:
    """The first word of a digest, from `hashlib`."""
    return int.from_bytes(hashlib.sha256(_bytes(n)).digest()[:4], "big")


def base64_(n: int) -> int:
    """There and back, with `base64`."""
    text = base64.b64encode(_bytes(n // 3 * 3))
    return sum(text) + sum(base64.b64decode(text))


def json_(n: int) -> int:
    """Records written and read, with `json`."""
    records = [{"id": i, "name": f"item {i}", "sizes": [1, i % 10, 300]} for i in range(n)]
    return _weight(json.loads(json.dumps(records)))


def _bytes(n: int) -> bytes:
    return bytes((i * 7 + 3) & 0xFF for i in range(n))


def _weight(value: Any) -> int:
    if isinstance(value, dict):
        return sum(len(key) + _weight(item) for key, item in value.items())
    if isinstance(value, list):
        return sum(map(_weight, value))
    return len(value) if isinstance(value, str) else int(value)


#: Each kernel, and the size that is measured.
KERNELS: dict[str, tuple[Callable[[int], int], int]] = {
    "fib": (fib, 20),
    "sieve": (sieve, 20_000),
    "matrix": (matrix, 32),
    "sha256": (sha256, 8192),
    "base64": (base64_, 6000),
    "json": (json_, 200),
}
