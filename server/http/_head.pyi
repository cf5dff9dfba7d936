"""The functions of the C extension; see `anywasm.server.http.codec`."""

from collections.abc import Sequence

from anywasm.server.http.fields import Fields
from anywasm.server.http.plain import Plain
from anywasm.server.http.request import Header, Headers, Request
from anywasm.server.http.state import ListenerState

def parse_plain(data: bytes, max_headers: int, /) -> Plain | None: ...
def encode_fields(headers: Sequence[Header], keep_length: bool = True) -> Fields: ...
def encode_head(
    request: Request,
    status: int,
    headers: Sequence[Header],
    length: int | None,
    shared: ListenerState,
) -> tuple[bytes, int, int, bool]: ...
def request_id() -> bytes: ...
def declared_length(pairs: list[Header], /) -> int | None: ...
def wire_fields(pairs: list[Header], to_upstream: bool, /) -> tuple[list[Header], int | None]: ...
def request_pairs(
    fields: Headers,
    method: bytes,
    target: bytes,
    scheme: bytes,
    client: bytes | None,
    trusts: bool,
    generate_id: bool,
    upgrade: bool,
    /,
) -> list[Header]: ...
