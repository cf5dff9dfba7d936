"""How guests call out: HTTP, gRPC, Redis and timers, on the server's event loop."""

from __future__ import annotations

from anywasm.server.callouts.grpc import GrpcCalls
from anywasm.server.callouts.http import HttpCalls
from anywasm.server.callouts.redis import RedisCalls
from anywasm.server.callouts.timers import LoopTimers

__all__ = ["GrpcCalls", "HttpCalls", "LoopTimers", "RedisCalls"]
