"""What counts as a difference between two answers, and between two logs."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Iterable, Sequence
from typing import Any

from anywasm.testing.golden.case import Answer, Fields, LogLine

#: Response headers that depend on the host, the time, or how a body was framed.
IGNORED_HEADERS = frozenset(
    {
        "date",
        "server",
        "connection",
        "content-length",
        "transfer-encoding",
        "x-envoy-upstream-service-time",
        "x-trace",
    }
)
#: Request headers that a proxy adds, as echoed in bodies.
FORWARDED_HEADERS = frozenset(
    {"x-forwarded-proto", "x-envoy-expected-rq-timeout-ms", "x-forwarded-for"}
)
#: Where bodies hold echoed headers.
_ECHOED = ("headers", "echo_headers")

_NAME = r"(?P<name>(?:{})) = 0 "
_BYTES = r"\[8\] (?:\\x[0-9a-f]{2}|.){8}"
#: Properties whose values are times, ports and addresses of peers, or numbers of connections, as
#: the edge guest prints them: non-printable bytes as \xNN, text as it is.
_MASKS = (
    (
        re.compile(
            _NAME.format(
                r"request\\x00time|source\\x00port|destination\\x00port|upstream\\x00port|"
                r"connection\\x00id|connection_id"
            )
            + _BYTES,
            re.DOTALL,
        ),
        r"\g<name> = 0 [8] ~",
    ),
    (
        re.compile(
            _NAME.format(
                r"source\\x00address|destination\\x00address|upstream\\x00address|"
                r"upstream\\x00local_address"
            )
            + r"\[\d+\] [0-9a-fA-F.:\[\]]+:\d+"
        ),
        r"\g<name> = 0 [~] ~",
    ),
    # A map's entries come in the order of Envoy's hash table; what is left to compare after the
    # guest cut it off is the size and the count.
    (
        re.compile(r"(request\\x00headers = 0 \[\d+\] (?:\\x[0-9a-f]{2}|.){4})[^|\n]*"),
        r"\g<1>~",
    ),
    (re.compile(r"\b127\.0\.0\.1:\d+"), "127.0.0.1:~"),
)
#: Metrics of time that plugins for language models put into answers.
_TIMINGS = re.compile(r'("[a-z_]*(?:_ms|duration|latency|_time|per_second)": ?)[0-9.]+')


def mask(text: str) -> str:
    """`text` without what differs from run to run."""
    for pattern, replacement in _MASKS:
        text = pattern.sub(replacement, text)
    return _TIMINGS.sub(r"\g<1>0", text)


def answer_lines(answer: Answer) -> list[str]:
    """An answer as lines of text, the same for all answers that count as equal."""
    if answer.status is None:
        return [f"error: {answer.error}"]
    lines = [f"status: {answer.status}"]
    if answer.error is not None:
        lines.append(f"error: {answer.error}")
    kept = (pair for pair in answer.headers if pair[0].lower() not in IGNORED_HEADERS)
    lines += [f"header: {name.lower()}: {value}" for name, value in sorted(kept)]
    lines += [f"body: {line}" for line in _body_lines(answer.body)]
    lines += [f"trailer: {name.lower()}: {value}" for name, value in _sorted(answer.trailers)]
    return lines


def _sorted(fields: Fields) -> list[tuple[str, str]]:
    return sorted((name.lower(), value) for name, value in fields)


def _body_lines(body: str) -> list[str]:
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        return mask(body).split("\n")
    if isinstance(value, dict):
        for key in _ECHOED:
            if isinstance(value.get(key), list):
                value[key] = [_timeless(pair) for pair in value[key] if not _is_forwarded(pair)]
    return mask(json.dumps(value, indent=1, sort_keys=True)).split("\n")


def _timeless(pair: Any) -> Any:
    """A header that a filter copied from another answer, without the time that one took."""
    timed = isinstance(pair, list) and pair[:1] == ["x-envoy-upstream-service-time"]
    return [pair[0], "~"] if timed else pair


def _is_forwarded(pair: Any) -> bool:
    return isinstance(pair, list) and bool(pair) and pair[0] in FORWARDED_HEADERS


def answer_differences(expected: Answer, actual: Answer) -> list[str]:
    """A readable diff of two answers; empty when they count as equal."""
    return _diff(answer_lines(expected), answer_lines(actual))


def log_differences(
    expected: Sequence[LogLine],
    actual: Sequence[LogLine],
    *,
    complete: bool,
    without: Iterable[LogLine] = (),
    bodies: tuple[str, str] = ("", ""),
) -> list[str]:
    """A readable diff of what two guests logged; empty when it counts as equal.

    Lines count once and in no order: Envoy runs a plugin in several VMs at once, each of which
    logs when it starts and ticks, and callbacks that no request waits for come at any time. Of a
    message only its first line was recorded.

    Args:
        expected: The recorded lines.
        actual: The observed ones.
        complete: Whether `actual` must not have others.
        without: Lines left out on both sides.
        bodies: The recorded and the observed response body: guests log their size, which depends
            on what a proxy adds to an echoed request.
    """
    ignored = {_log_text(line, "") for line in without}
    before = {_log_text(line, bodies[0]) for line in expected} - ignored
    after = {_log_text(line, bodies[1]) for line in actual} - ignored
    return _diff(sorted(before), sorted(after if complete else after & before))


def _log_text(line: LogLine, body: str) -> str:
    first = line.msg.partition("\n")[0]
    text = re.sub(rf"\brb:{len(body.encode())}:", "rb:BODY:", first) if body else first
    return f"log: {line.level}: {mask(text)}"


def _diff(before: list[str], after: list[str]) -> list[str]:
    """The lines of only one side: `-` was recorded, `+` is what came instead."""
    return [line for line in difflib.ndiff(before, after) if line.startswith(("- ", "+ "))]
