"""Sizes and durations as people write them."""

from __future__ import annotations

import math
import re
from typing import Annotated

from pydantic import AfterValidator, PlainValidator

#: The longest time that a configuration may ask for, in seconds: a day.
MAX_DURATION = 86400.0
#: The largest size, in bytes: what a 32-bit guest can address.
MAX_SIZE = 1 << 32

_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
_BYTES = {
    "B": 1,
    "KB": 1000,
    "MB": 1000**2,
    "GB": 1000**3,
    "KiB": 1024,
    "MiB": 1024**2,
    "GiB": 1024**3,
}
_QUANTITY = re.compile(r"([0-9]{1,18}(?:\.[0-9]{1,18})?) ?([A-Za-z]+)", re.ASCII)


def parse_duration(value: object) -> float:
    """Seconds from a number of seconds, or from text such as `250ms`, `1.5s`, `2m`, `1h`.

    Raises:
        ValueError: When it is neither, negative, or longer than a day.
    """
    seconds = math.nan
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        seconds = value
    elif isinstance(value, str) and (match := _QUANTITY.fullmatch(value)):
        seconds = float(match[1]) * _SECONDS.get(match[2], math.nan)
    if not 0 <= seconds <= MAX_DURATION:
        raise ValueError(
            'must be a number of seconds, or text such as "250ms", "1s" or "2m"; at most a day'
        )
    return float(seconds)


def parse_size(value: object) -> int:
    """Bytes from a number of bytes, or from text such as `64KiB` (1024) or `1MB` (1000²).

    Raises:
        ValueError: When it is neither, not positive, no whole number, or more than 4 GiB.
    """
    size = math.nan
    if isinstance(value, int) and not isinstance(value, bool):
        size = value
    elif isinstance(value, str) and (match := _QUANTITY.fullmatch(value)):
        size = float(match[1]) * _BYTES.get(match[2], math.nan)
    if not 1 <= size <= MAX_SIZE or size != int(size):
        raise ValueError('must be a number of bytes, or text such as "64KiB" or "1MiB"; 1 to 4 GiB')
    return int(size)


def _positive(seconds: float) -> float:
    if seconds <= 0:
        raise ValueError("must be longer than zero")
    return seconds


#: Seconds, zero allowed.
Duration = Annotated[float, PlainValidator(parse_duration, json_schema_input_type=float | str)]
#: Seconds, more than zero.
Timeout = Annotated[Duration, AfterValidator(_positive)]
#: Bytes.
Size = Annotated[int, PlainValidator(parse_size, json_schema_input_type=int | str)]
