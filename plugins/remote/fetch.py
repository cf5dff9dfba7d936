"""Brings the module that a configuration names by URL."""

from __future__ import annotations

import hashlib
from collections.abc import Callable

from anywasm.plugins.config import FetchConfig, VmConfig
from anywasm.plugins.errors import PluginLoadError
from anywasm.plugins.remote.credentials import basic_authorization
from anywasm.plugins.remote.http import HttpFetcher, Origin, shown
from anywasm.plugins.remote.reference import ImageReference, parse_reference
from anywasm.plugins.remote.registry import Registry
from anywasm.plugins.remote.store import Fetched, ModuleStore


def fetch_module(
    config: VmConfig, check: Callable[[bytes, str], None], *, refresh: bool = False
) -> bytes:
    """The module at `config.url`: from the disk where that will do, else from the network.

    A module that is pinned by `sha256` and is on the disk needs no network, nor does an image that
    is named by its digest. Otherwise `fetch.pull_policy` says whether what was fetched before is
    good; if it is not, or `refresh` is set, the server is asked for anything newer.

    Args:
        config: Its `url`, `sha256` and `fetch` count.
        check: Given a module and its sha256, raises when it is not what was pinned; what does not
            pass is not kept.
        refresh: Whether the server is to be asked in any case.

    Raises:
        PluginLoadError: When it cannot be had, or does not pass.
    """
    url, fetch = config.url or "", config.fetch
    store = ModuleStore.default()
    if config.sha256 is not None:
        pinned = store.module(config.sha256)
        if pinned is not None:
            return pinned
    # Whoever has no credentials must not get what others have fetched with theirs.
    place = "\n".join((url, fetch.username or "", str(fetch.docker_config or "")))
    known = store.find(place)
    image = parse_reference(url) if url.startswith("oci://") else None
    fixed = image is not None and image.digest is not None
    if known is not None and (fixed or not (refresh or fetch.pull_policy == "always")):
        return known[1]
    if image is not None:
        found, wasm = _pull(image, fetch, known)
    else:
        found, wasm = _download(url, fetch, known)
    check(wasm, found.sha256)
    if known is None or known[0] != found:
        store.keep(place, found, wasm)
    return wasm


def _download(
    url: str, fetch: FetchConfig, known: tuple[Fetched, bytes] | None
) -> tuple[Fetched, bytes]:
    headers: dict[str, str] = {}
    if known is not None and known[0].etag is not None:
        headers["if-none-match"] = known[0].etag
    elif known is not None and known[0].last_modified is not None:
        headers["if-modified-since"] = known[0].last_modified
    origin = Origin.of(url)
    with HttpFetcher(fetch, origin) as http:
        answer = http.get(url, headers, authorization=basic_authorization(fetch, origin.host))
    if answer.status == 304:
        if known is None:
            raise PluginLoadError(f"{shown(url)}: the server answered 304 unasked")
        return known
    found = Fetched(
        hashlib.sha256(answer.body).hexdigest(),
        answer.headers.get("etag"),
        answer.headers.get("last-modified"),
    )
    return found, answer.body


def _pull(
    reference: ImageReference, fetch: FetchConfig, known: tuple[Fetched, bytes] | None
) -> tuple[Fetched, bytes]:
    with Registry(reference, fetch) as registry:
        image = registry.image()
        if known is not None and known[0].image == image.digest:
            return known
        wasm = registry.module(image)
    return Fetched(hashlib.sha256(wasm).hexdigest(), image=image.digest), wasm
