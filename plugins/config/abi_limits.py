"""What guests may store in their host."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from anywasm.abi import buffer, metrics, shared_data, shared_queue
from anywasm.abi.pairs import MAX_BYTES, MAX_PAIRS
from anywasm.plugins.config.model import Model
from anywasm.plugins.config.units import Size

Count = Annotated[int, Field(strict=True, ge=1, le=100_000_000)]


class AbiLimitsConfig(Model):
    """Bounds on what guests have their host hold. Past them they get INTERNAL_FAILURE."""

    shared_data_bytes: Size = shared_data.MAX_BYTES
    """Keys and values of the shared data of one `vm_id`."""
    queue_items: Count = shared_queue.MAX_ITEMS
    """Items in one shared queue."""
    queue_bytes: Size = shared_queue.MAX_BYTES
    """Bytes in one shared queue."""
    metrics: Count = metrics.MAX_METRICS
    """Metrics that all guests define together."""
    pairs: Count = MAX_PAIRS
    """Headers, or trailers, in one map that a guest changes or sends."""
    pairs_bytes: Size = MAX_BYTES
    """Bytes of such a map."""
    buffer_bytes: Size = buffer.MAX_BUFFER
    """Bytes of a body that a guest has written to."""
    calls_bytes: Size = 64 * 1024 * 1024
    """Bytes that one instance's calls under way have sent, together; of streams what is unsent."""
    call_body_bytes: Size = 10 * 1024 * 1024
    """Bytes of one answer to a guest's HTTP, gRPC or Redis call; past it the call fails."""
