"""What guests may store in their host."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from anywasm.abi import metrics, shared_data, shared_queue
from anywasm.plugins.config.model import Model
from anywasm.plugins.config.units import Size

Count = Annotated[int, Field(strict=True, ge=1, le=100_000_000)]


class AbiLimitsConfig(Model):
    """Bounds on what outlives a request. Past them guests get INTERNAL_FAILURE."""

    shared_data_bytes: Size = shared_data.MAX_BYTES
    """Keys and values of the shared data of one `vm_id`."""
    queue_items: Count = shared_queue.MAX_ITEMS
    """Items in one shared queue."""
    queue_bytes: Size = shared_queue.MAX_BYTES
    """Bytes in one shared queue."""
    metrics: Count = metrics.MAX_METRICS
    """Metrics that all guests define together."""
