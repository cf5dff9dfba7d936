"""The upstream HTTP/1.1 client: keep-alive pools on the event loop, without a task a request."""

from __future__ import annotations

from anywasm.server.upstream.cluster import Cluster, TlsOptions
from anywasm.server.upstream.clusters import UpstreamClusters
from anywasm.server.upstream.counters import UpstreamCounters
from anywasm.server.upstream.errors import InvalidRequestError, StreamStateError
from anywasm.server.upstream.failure import FailureReason, UpstreamFailure
from anywasm.server.upstream.handler import ResponseHandler, UpgradedData, WholeResponseHandler
from anywasm.server.upstream.pool import UpstreamPool
from anywasm.server.upstream.stream import UpstreamStream

__all__ = [
    "Cluster",
    "FailureReason",
    "InvalidRequestError",
    "ResponseHandler",
    "StreamStateError",
    "TlsOptions",
    "UpgradedData",
    "UpstreamClusters",
    "UpstreamCounters",
    "UpstreamFailure",
    "UpstreamPool",
    "UpstreamStream",
    "WholeResponseHandler",
]
