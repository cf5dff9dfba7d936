"""The functions of the C extension; see `anywasm.server.upstream.codec`."""

from collections.abc import Sequence

from anywasm.server.http.request import Header, Headers

def parse_plain(
    data: bytes, max_headers: int, max_header_bytes: int, /
) -> tuple[int, Headers, bytes] | None: ...
def encode_request_head(
    method: bytes, target: bytes, headers: Sequence[Header], end_stream: bool, upgrade: bool, /
) -> tuple[bytes, int, int, bool]: ...
