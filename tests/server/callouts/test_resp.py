"""Cutting RESP into answers, and judging commands."""

from __future__ import annotations

import pytest

from anywasm.server.callouts.resp import (
    RespError,
    RespFramer,
    command_words,
    encode_command,
)

ANSWERS = [
    b"+OK\r\n",
    b"-ERR no\r\n",
    b":-12\r\n",
    b"$-1\r\n",
    b"*-1\r\n",
    b"$0\r\n\r\n",
    b"*0\r\n",
    b"$6\r\na\r\nb\r\n\r\n",
    b"*3\r\n*2\r\n:1\r\n$1\r\nx\r\n*0\r\n*1\r\n*-1\r\n",
    b"*2\r\n-ERR inner\r\n$3\r\n\x00\xff\n\r\n",
]


@pytest.mark.parametrize("step", [1, 2, 3, 7, 1000])
def test_answers_come_out_as_they_went_in_however_they_are_cut(step: int) -> None:
    framer = RespFramer(1000)
    stream = b"".join(ANSWERS) * 2
    out: list[bytes] = []
    for start in range(0, len(stream), step):
        out += framer.feed(stream[start : start + step])
    assert out == ANSWERS * 2


def test_an_answer_comes_out_with_its_last_byte() -> None:
    for answer in ANSWERS:
        framer = RespFramer(1000)
        assert framer.feed(answer[:-1]) == []
        assert framer.feed(answer[-1:]) == [answer]


@pytest.mark.parametrize(
    "data",
    [
        b"HTTP/1.1 400 Bad Request\r\n",
        b"$x\r\n",
        b"$-2\r\n",
        b"$01\r\n",
        b"*+1\r\n",
        b"$\r\n",
        b"*99999999999\r\n",
        b"$1\r\nabc",
        b"%1\r\n+a\r\n+b\r\n",
        b">2\r\n",
        b"+" + b"x" * 70_000,
    ],
)
def test_what_is_no_resp2_is_refused(data: bytes) -> None:
    with pytest.raises(RespError):
        RespFramer(1 << 20).feed(data)


@pytest.mark.parametrize(
    "data", [b"$101\r\n", b"*20\r\n" + b"$5\r\nabcde\r\n" * 9, b"*1\r\n" * 30, b"+" + b"x" * 100]
)
def test_too_long_answers_are_refused(data: bytes) -> None:
    framer = RespFramer(100)
    with pytest.raises(RespError, match="longer than 100"):
        framer.feed(data)


def test_commands_are_encoded_and_read() -> None:
    assert encode_command(b"GET", b"a\r\n") == b"*2\r\n$3\r\nGET\r\n$3\r\na\r\n\r\n"
    assert command_words(encode_command(b"get", b"Key", b"x")) == (b"GET", b"KEY")
    assert command_words(encode_command(b"ping")) == (b"PING", b"")
    assert command_words(encode_command(b"set", b"", b"\r\n$1\r\n")) == (b"SET", b"")


@pytest.mark.parametrize(
    "query",
    [
        b"",
        b"\r\n",
        b"PING\r\n",
        b"*0\r\n",
        b"*-1\r\n",
        b"*1\r\n",
        b"*1\r\n:1\r\n",
        b"*1\r\n$-1\r\n",
        b"*1\r\n$4\r\nPING",
        b"*1\r\n$4\r\nPINGxx",
        b"*1\r\n$5\r\nPING\r\n",
        b"*1\r\n$99\r\nPING\r\n",
        b"*2\r\n$4\r\nPING\r\n",
        encode_command(b"PING") * 2,
        encode_command(b"PING") + b"\r\n",
        b"*1\r\n*1\r\n$4\r\nPING\r\n",
    ],
)
def test_anything_but_one_command_is_none(query: bytes) -> None:
    assert command_words(query) is None
