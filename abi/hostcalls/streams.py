"""What a guest does to a stream. It is only noted here; the stream's driver acts after the call."""

from __future__ import annotations

from anywasm.abi.context import Context, LocalResponse, StreamContext
from anywasm.abi.enums import LogLevel, Status, StreamType
from anywasm.abi.fields import valid_fields
from anywasm.abi.pairs import decode_pairs
from anywasm.abi.table import host_function
from anywasm.core.errors import AbiError


@host_function("proxy_send_local_response", "u32 data data data i32")
def send_local_response(
    context: Context, status: int, details: bytes, body: bytes, headers: bytes, grpc_status: int
) -> Status | None:
    """Answer the request from the guest. The first answer wins; a later one is OK and dropped.

    Without a stream there is nothing to answer, which Envoy lets pass.
    """
    try:
        limits = context.guest.services.limits
        decoded = decode_pairs(headers, limits.pairs, limits.pairs_bytes)
        pairs = tuple((name.lower(), value) for name, value in decoded)
    except AbiError as error:
        context.log(LogLevel.ERROR, f"proxy_send_local_response: {error}")
        return Status.BAD_ARGUMENT
    # Envoy sends 0 as it is; anything else that is no final status would break the framing.
    if not valid_fields(pairs) or not (status == 0 or 200 <= status <= 999):
        return Status.BAD_ARGUMENT
    if isinstance(context, StreamContext) and context.local_response is None:
        grpc = None if grpc_status < 0 else grpc_status
        context.local_response = LocalResponse(status, details, body, pairs, grpc)
        context.wake()
    return None


def _continue(context: Context, kind: int) -> Status | None:
    if not isinstance(context, StreamContext) or kind > StreamType.HTTP_RESPONSE:
        return Status.BAD_ARGUMENT
    if kind == StreamType.HTTP_RESPONSE and not context.responding:
        return Status.BAD_ARGUMENT  # Envoy crashes here
    context.continued |= {StreamType(kind)}
    context.wake()
    return None


@host_function("proxy_continue_stream", "u32", versions=("0.2.0", "0.2.1"))
def continue_stream(context: Context, kind: int) -> Status | None:
    """Let a paused direction go on; Envoy knows the two HTTP directions only."""
    return _continue(context, kind)


@host_function("proxy_continue_request", versions=("0.1.0",))
def continue_request(context: Context) -> Status | None:
    """Let the paused request go on."""
    return _continue(context, StreamType.HTTP_REQUEST)


@host_function("proxy_continue_response", versions=("0.1.0",))
def continue_response(context: Context) -> Status | None:
    """Let the paused response go on."""
    return _continue(context, StreamType.HTTP_RESPONSE)


@host_function("proxy_close_stream", "u32", versions=("0.2.0", "0.2.1"))
def close_stream(context: Context, kind: int) -> Status | None:
    """End the stream without an answer."""
    if not isinstance(context, StreamContext) or kind > StreamType.UPSTREAM:
        return Status.BAD_ARGUMENT
    context.closed |= {StreamType(kind)}
    context.wake()
    return None
