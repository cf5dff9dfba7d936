"""Builds the chain of one stream out of the filters as they are now."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

from anywasm.plugins.errors import FilterFailedError, FilterStartingError, PoolClosedError
from anywasm.server.filters.direction import Sink
from anywasm.server.filters.failed_stage import FailedStage
from anywasm.server.filters.places import FilterPlace
from anywasm.server.filters.stage import FilterStage
from anywasm.server.filters.waiting import WaitingStage

if TYPE_CHECKING:
    from anywasm.server.filters.chain import FilterChain

_log: Final = logging.getLogger("anywasm.server.filters")


def assemble(chain: FilterChain, router: Sink, downstream: Sink) -> None:
    """Bind an instance of every filter and link them up between router and client.

    Where one has no instance yet because it is just being started, the request waits for it.
    """
    try:
        _link(chain, router, downstream, may_wait=True)
    except FilterStartingError as starting:
        for stage in chain.stages:  # they must not be kept from others meanwhile
            stage.end()
        chain.stages.clear()
        chain.request_way = WaitingStage(
            chain, starting, lambda: _link(chain, router, downstream, may_wait=False)
        )


def _link(chain: FilterChain, router: Sink, downstream: Sink, *, may_wait: bool) -> None:
    places: list[FilterStage | FailedStage] = []
    response_way = downstream
    for filter_place in chain.listener.filters:
        place = _bind(chain, filter_place, may_wait=may_wait)
        if place is None:
            continue
        places.append(place)
        if isinstance(place, FilterStage):
            chain.stages.append(place)
            serving = place.serving
            if serving.changes_request:
                chain.request_may_change = True
            if serving.changes_response:
                chain.response_may_change = True
            if serving.sees_response:
                response_way = place.link_response(response_way)
    request_way = router
    for place in reversed(places):
        request_way = place.link_request(request_way)
    chain.request_way, chain.response_way = request_way, response_way


def _bind(
    chain: FilterChain, place: FilterPlace, *, may_wait: bool
) -> FilterStage | FailedStage | None:
    while True:
        serving = place.serving
        if serving is None:
            _log.warning("filter %r is not installed", place.name)
            return FailedStage(chain, place.name)
        try:
            slot = serving.pool.bind()
        except FilterFailedError as error:
            if may_wait and isinstance(error, FilterStartingError):
                raise
            _log.warning("%s", error)
            return FailedStage(chain, place.name)
        except PoolClosedError:
            if place.serving is not serving:
                continue  # it was replaced just now
            _log.warning("filter %r was removed", place.name)
            return FailedStage(chain, place.name)
        return None if slot is None else FilterStage(chain, serving, slot)
