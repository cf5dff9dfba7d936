"""The filter profile: a chain of filters around a direct response or an upstream, as in Envoy."""

from anywasm.server.filters.access_log import AccessLog
from anywasm.server.filters.chain import FilterChain
from anywasm.server.filters.idle import IdleWatch
from anywasm.server.filters.listener import FilterListener
from anywasm.server.filters.places import FilterPlaces
from anywasm.server.filters.route import Route, RouteTable

__all__ = [
    "AccessLog",
    "FilterChain",
    "FilterListener",
    "FilterPlaces",
    "IdleWatch",
    "Route",
    "RouteTable",
]
