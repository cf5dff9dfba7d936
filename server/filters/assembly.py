"""Builds the chain of one stream out of the filters as they are now."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from anywasm.plugins.errors import FilterFailedError, PoolClosedError
from anywasm.plugins.wrapper import PluginWrapper
from anywasm.server.filters.direction import Sink
from anywasm.server.filters.failed_stage import FailedStage
from anywasm.server.filters.stage import FilterStage

if TYPE_CHECKING:
    from anywasm.server.filters.chain import FilterChain

_log = logging.getLogger("anywasm.server.filters")


def assemble(chain: FilterChain, router: Sink, downstream: Sink) -> None:
    """Bind an instance of every filter and link them up between router and client."""
    places: list[FilterStage | FailedStage] = []
    response_way = downstream
    for wrapper in chain.listener.filters:
        place = _bind(chain, wrapper)
        if place is None:
            continue
        places.append(place)
        if isinstance(place, FilterStage):
            chain.stages.append(place)
            chain.request_may_change |= place.changes_request
            chain.response_may_change |= place.changes_response
            response_way = place.link_response(response_way)
    request_way = router
    for place in reversed(places):
        request_way = place.link_request(request_way)
    chain.request_way, chain.response_way = request_way, response_way


def _bind(chain: FilterChain, wrapper: PluginWrapper) -> FilterStage | FailedStage | None:
    while True:
        plugin = wrapper.plugin
        try:
            slot = plugin.filters.bind()
        except FilterFailedError as error:
            _log.warning("%s", error)
            return FailedStage(chain, wrapper.name)
        except PoolClosedError:
            if wrapper.plugin is not plugin:
                continue  # it was replaced just now
            _log.warning("filter %r was removed", wrapper.name)
            return FailedStage(chain, wrapper.name)
        return None if slot is None else FilterStage(chain, plugin, slot)
