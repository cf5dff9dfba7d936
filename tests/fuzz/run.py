"""Fuzzes what reads guests' bytes: `python tests/fuzz/run.py --seconds 60 [TARGET...]`.

Needs atheris (`pip install atheris`), which the project does not otherwise use. What breaks a
target is kept in `tests/fuzzcases/TARGET/`, where a test replays it from then on.
"""

from __future__ import annotations

import argparse
import gzip
import importlib.util
import io
import struct
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any, ClassVar

from anywasm.abi.buffer import Buffer
from anywasm.abi.context import RootContext, StreamContext
from anywasm.abi.enums import BufferType, MapType, Status
from anywasm.abi.fields import valid_field
from anywasm.abi.guest import Guest
from anywasm.abi.headers import HeaderMap
from anywasm.abi.host import HostServices
from anywasm.abi.pairs import MAX_BYTES, MAX_PAIRS, decode_pairs, encode_pairs
from anywasm.abi.plugin import PluginIdentity
from anywasm.abi.properties import get_property, set_property
from anywasm.abi.protobuf import protobuf_fields
from anywasm.abi.table import HOST_FUNCTIONS
from anywasm.core.errors import AbiError
from anywasm.core.registry import get_wasm_engine
from anywasm.engines.null.library import export, register_guest
from anywasm.plugins.errors import PluginLoadError
from anywasm.plugins.remote.layers import find_module
from anywasm.server.http import HttpLimits, InvalidResponseError, codec
from anywasm.server.http.fields import encode_fields
from anywasm.server.http.parser import RequestParser
from anywasm.server.http.plain import parse_plain
from anywasm.server.http.request import Request
from anywasm.testing.null_filter import NullFilter

CASES = Path(__file__).resolve().parents[1] / "fuzzcases"
PLUGIN = PluginIdentity("fuzz", vm_id="vm", profile="higress")


# --- targets: bytes in, an exception for what must not be ----------------------------------------


def pairs(data: bytes) -> None:
    """What decodes encodes to the same bytes, and is within the limits."""
    try:
        decoded = decode_pairs(data)
    except AbiError:
        return
    assert len(decoded) <= MAX_PAIRS
    assert len(data) <= MAX_BYTES
    if decoded:
        assert encode_pairs(decoded) == data


def protobuf(data: bytes) -> None:
    """Fields are numbered from 1, hold numbers of 64 bits, and no byte twice."""
    try:
        fields = protobuf_fields(data)
    except ValueError:
        return
    assert sum(1 + len(value) for _, value in fields if isinstance(value, bytes)) <= len(data)
    for number, value in fields:
        assert number >= 1
        assert isinstance(value, bytes) or 0 <= value < 1 << 64


def properties(data: bytes) -> None:
    """Every path has an answer, and what is set is kept."""
    guest: Any = None
    stream = StreamContext(guest, 2, RootContext(guest, 1, PLUGIN), 0.0)
    path, _, value = data.partition(b"\xff")
    fields = [(name, value) for name in (b":path", b":authority", b"grpc-status", value)]
    for kind in (MapType.HTTP_REQUEST_HEADERS, MapType.HTTP_RESPONSE_HEADERS):
        stream.maps[kind] = HeaderMap(fields)
    assert isinstance(get_property(stream, path), (bytes, Status))
    if set_property(stream, path, value) is None:
        assert stream.info.filter_state[b"wasm." + path] == value
    assert isinstance(get_property(stream, path), (bytes, Status))


def fields(data: bytes) -> None:
    """What may be sent parts no line, and names are tokens."""
    name, _, value = data.partition(b"=")
    if valid_field(name, value):
        assert not set(b"\r\n\0") & set(name + value)
        assert name.removeprefix(b":").strip(b' \t"(),/:;<=>?@[\\]{}\x7f') == name.removeprefix(
            b":"
        )
        assert name.isascii()
        assert name not in (b"", b":")


def headers(data: bytes) -> None:
    """A map and a list of pairs, changed in step, stay the same."""
    made, model = HeaderMap(), list[tuple[bytes, bytes]]()
    for operation in data.split(b"\n")[:200]:
        name, value = operation[1:4].lower().replace(b":", b""), operation[4:]
        if operation[:1] < b"a":
            made.add(name, value)
            model.append((name, value))
        elif operation[:1] < b"p":
            made.remove(name.upper())
            model = [pair for pair in model if pair[0] != name]
        else:
            made.replace(name.upper(), value)
            at = next((i for i, pair in enumerate(model) if pair[0] == name), len(model))
            rest = [pair for pair in model[at + 1 :] if pair[0] != name]
            model = [*model[:at], (name, value), *rest]
        assert made.get(name) == next((v for n, v in model if n == name), None)
    assert made.pairs == model
    assert made.byte_size == sum(len(n) + len(v) for n, v in model)


class Caller(NullFilter):
    """A guest that makes whatever calls it is told to, numbers, pointers and all."""

    host_functions: ClassVar[tuple[str, ...]] = tuple(
        sorted(
            name
            for name, function in HOST_FUNCTIONS.items()
            if function.versions != frozenset({"0.1.0"}) and not function.blocking
        )
    )
    proxy_abi_version_0_2_1 = None  # type: ignore[assignment]
    calls: ClassVar[bytes] = b""

    @export("->")
    def proxy_abi_version_0_2_100(self) -> None:
        """Marks the version that has most functions."""

    @export("i32 -> i32")
    def proxy_on_memory_allocate(self, size: int) -> int:
        """Memory for anything, time and again the same: nothing that is given is kept."""
        return 32768 if size <= 32768 else 0

    @export("i32 ->")
    def proxy_on_tick(self, context: int) -> None:
        """Calls: a function's number, then a u16 for each parameter."""
        self.memory.write(64, self.calls[:16384])
        at = 0
        while at < len(self.calls):
            name = self.host_functions[self.calls[at] % len(self.host_functions)]
            count = len(HOST_FUNCTIONS[name].type.params)
            raw = self.calls[at + 1 : at + 1 + 2 * count].ljust(2 * count, b"\0")
            at += 1 + 2 * count
            # The last of the 16 bits stand for numbers near 2^32, which sizes and ids may be.
            numbers = [
                n if n < 0xFF00 else n | 0xFFFF0000 for n in struct.unpack(f"<{count}H", raw)
            ]
            status = self._env[name](*numbers)
            assert status in range(13), f"{name} answered {status!r}"


class _World:
    """Calls and timers that never come back."""

    def cancel(self) -> None:
        """Nothing to do."""

    def call(self, *args: object, **options: object) -> _World:
        return self

    stream = call_later = send = half_close = call

    def configure(self, server: object, *, owner: str = "") -> bool:
        return True


def hostcalls(data: bytes) -> None:
    """Any calls with any arguments are answered with a status, and the guest lives."""
    world: Any = _World()
    services = HostServices(http=world, grpc=world, redis=world, timers=world)
    guest = Guest(_caller(), PLUGIN, services)
    try:
        root = guest.create_root(PLUGIN)
        stream = guest.create_stream(root)
        for kind in MapType:
            stream.maps[kind] = HeaderMap([(b":path", b"/"), (b"a", data[:64])])
        for buffer in BufferType:
            stream.buffers[buffer] = Buffer(data[:64])
        Caller.calls = data
        guest.call(stream, guest.callbacks.on_tick or _missing, stream.id, limit=60.0)
        assert guest.failed is None
    finally:
        guest.close()


def image(data: bytes) -> None:
    """Whatever a layer of an image holds is a module, or is refused."""
    layer = {"mediaType": "application/vnd.oci.image.layer.v1.tar+gzip", "digest": "sha256:0"}
    with suppress(PluginLoadError):
        find_module([layer], lambda _: data, 1 << 16)


def requests(data: bytes) -> None:
    """What is read as a plain request in C is that in Python, and to llhttp."""
    plain = parse_plain(data, 100)
    assert codec.parse_plain(data, 100) == plain
    # What lies behind the end must not matter, and what is there no more neither.
    assert codec.parse_plain(data[:-1], 100) == parse_plain(data[:-1], 100)
    if plain is None:
        return
    parser = RequestParser(HttpLimits(max_target_bytes=1 << 16, max_header_bytes=1 << 20))
    parser.feed(data)
    request = parser.events[0]
    assert isinstance(request, Request)
    body = b"".join(event for event in parser.events if isinstance(event, bytes))
    assert plain[:3] == (request.method, request.target, request.headers)
    assert (plain[3] or b"", request.received, request.keep_alive) == (body, True, True)


def responses(data: bytes) -> None:
    """Headers are encoded, or refused, in C as in Python; no line is anybody's but theirs."""
    lines = [line.partition(b"=") for line in data.split(b"\0\n")]
    fields = [(name, value) for name, _, value in lines]
    expected, made = (_outcome(call, fields) for call in (encode_fields, codec.encode_fields))
    assert made == expected
    if not isinstance(expected, str):
        block = expected[0]
        assert block.count(b"\n") == block.count(b"\r\n") <= len(fields)


def _outcome(call: Callable[[Any], Any], argument: object) -> Any:
    try:
        return call(argument)
    except InvalidResponseError as error:
        return str(error)


def _archive() -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        info = tarfile.TarInfo("plugin.wasm")
        info.size = 8
        archive.addfile(info, io.BytesIO(b"\0asm\1\0\0\0"))
    return packed.getvalue()


def _missing(*args: int) -> None:
    raise AssertionError("the guest exports no proxy_on_tick")


@cache
def _caller() -> Any:
    register_guest("fuzz_caller", Caller, replace=True)
    return get_wasm_engine("null").compile(b"fuzz_caller")


TARGETS: dict[str, Callable[[bytes], None]] = {
    target.__name__: target
    for target in (
        *(pairs, protobuf, properties, fields, headers, hostcalls, image),
        *(requests, responses),
    )
}


#: What fuzzing begins with, where chance would take long.
SEEDS: dict[str, Iterable[bytes]] = {
    "pairs": [encode_pairs([(b"a", b"b"), (b"", b"")])],
    "protobuf": [b"\x0a\x02ab\x10\x01", b"\x09" + bytes(8) + b"\x0d" + bytes(4)],
    "properties": [
        path.replace(b".", b"\0")
        for path in (
            b"request.headers.a", b"request.path", b"request.query", b"response.code",
            b"response.grpc_status\xff99", b"source.address", b"upstream.local_address",
            b"connection.mtls", b"xds.node.id", b"filter_state.wasm", b"plugin_name", b"metadata",
        )
    ],
    "requests": [
        b"GET /a?b HTTP/1.1\r\nHost: h\r\nConnection: keep-alive\r\nAccept: */*\r\n\r\n",
        b"POST / HTTP/1.1\r\nhost: h\r\nContent-Length: 3\r\n\r\na\r\n",
        b"DELETE / HTTP/1.1\r\nHost:h\r\nProxy-Connection:\r\nexpect: 100-continue\r\n\r\n",
    ],
    "responses": [
        b"content-type=text/plain\0\ncontent-length=5\0\nx=",
        b"Date=a\0\nserver=b\0\nconnection=close\0\ntransfer-encoding=chunked",
    ],
    "image": [b"\0asm", _archive()[:2048], gzip.compress(_archive(), mtime=0)],
    "hostcalls": [bytes([which, *range(24)]) for which in range(len(Caller.host_functions))],
}  # fmt: skip


# --- the command ---------------------------------------------------------------------------------


#: One target in a process of its own, which fuzzing ends; this file's imports are instrumented.
_CHILD = """
import atheris, runpy, sys
with atheris.instrument_imports(include=["anywasm"]):
    made = runpy.run_path(sys.argv[1])
made["fuzz"](sys.argv[2], int(sys.argv[3]))
"""


def fuzz(name: str, seconds: int) -> None:
    """Fuzz one target; ends the process, badly when something was found."""
    import atheris  # type: ignore[import-not-found, import-untyped, unused-ignore]

    cases = CASES / name
    cases.mkdir(parents=True, exist_ok=True)
    target = TARGETS[name]

    def test_one(data: bytes) -> None:
        target(bytes(data))

    # Seeds and what grows from them are dropped in the end; what breaks the target is kept.
    corpus = tempfile.mkdtemp(prefix="anywasm-fuzz-")
    for index, seed in enumerate(SEEDS.get(name, ())):
        Path(corpus, f"seed{index}").write_bytes(seed)
    options = [f"-max_total_time={seconds}", "-timeout=10", "-len_control=0", "-max_len=4096"]
    atheris.Setup([sys.argv[0], *options, f"-artifact_prefix={cases}/", corpus], test_one)
    atheris.Fuzz()


def main(arguments: Iterable[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("targets", nargs="*", metavar="TARGET", help=f"of {', '.join(TARGETS)}")
    parser.add_argument("--seconds", type=int, default=60, help="for each target (default: 60)")
    options = parser.parse_args(None if arguments is None else list(arguments))
    unknown = set(options.targets) - set(TARGETS)
    if unknown:
        parser.error(f"unknown targets: {', '.join(sorted(unknown))}")
    if importlib.util.find_spec("atheris") is None:
        sys.stderr.write("fuzzing needs atheris: pip install atheris\n")
        return 2
    broken = []
    for name in options.targets or TARGETS:
        sys.stdout.write(f"{name}: {options.seconds} s\n")
        sys.stdout.flush()
        command = [sys.executable, "-c", _CHILD, __file__, name, str(options.seconds)]
        if subprocess.run(command, check=False).returncode:
            broken.append(name)
    if broken:
        sys.stdout.write(f"broken: {', '.join(broken)}; the inputs are in {CASES}\n")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
