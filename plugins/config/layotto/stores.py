"""State stores: `state` in the configuration of the gRPC network filter."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from urllib.parse import quote

from anywasm.plugins.config.address import parse_address
from anywasm.plugins.config.model import KeyPath
from anywasm.plugins.config.translation import Translation

_TRUE = frozenset({"1", "t", "T", "TRUE", "true", "True"})
#: Blocks of `grpc_config` that are served, or need no serving because functions call directly.
_SERVED = frozenset({"state", "rpcs", "app"})
#: Between a key prefix and the key.
_SEPARATOR = "||"


def add_stores(translation: Translation, grpc_config: dict[str, Any], path: KeyPath) -> None:
    """Translate the state stores of one gRPC filter, and name its blocks that are not served."""
    ignored = sorted(set(grpc_config) - _SERVED)
    if ignored:
        translation.notice(path, f"these components are not served: {', '.join(ignored)}")
    app = translation.mapping(grpc_config.get("app"), (*path, "app"))
    app_id = translation.text(app.get("app_id"), (*path, "app", "app_id"))
    stores = translation.mapping(grpc_config.get("state"), (*path, "state"))
    for name, value in stores.items():
        here = (*path, "state", name)
        store = translation.mapping(value, here)
        # In older files the name was the type.
        kind = translation.text(store.get("type"), (*here, "type")) or name
        read = _TYPES.get(kind)
        if read is None:
            known = ", ".join(_TYPES)
            translation.notice(
                here, f'state store of type "{kind}" is not served; supported types: {known}'
            )
            continue
        if store.get("secret_ref"):
            translation.notice((*here, "secret_ref"), "secrets are not injected")
        metadata = translation.mapping(store.get("metadata"), (*here, "metadata"))
        own = read(translation, metadata, (*here, "metadata"))
        if own is None:
            continue
        prefix = _key_prefix(translation, metadata, (*here, "metadata"), name, app_id)
        if prefix:
            own["key_prefix"] = prefix
        translation.data["state_stores"][name] = own
        translation.map(("state_stores", name), here)


def _key_prefix(
    translation: Translation, metadata: dict[str, Any], path: KeyPath, store: str, app_id: str
) -> str:
    strategy = translation.text(metadata.get("keyPrefix"), (*path, "keyPrefix")).lower()
    prefix = {"none": "", "name": store, "appid": app_id}.get(strategy, strategy)
    return prefix + _SEPARATOR if prefix else ""


def _redis(
    translation: Translation, metadata: dict[str, Any], path: KeyPath
) -> dict[str, Any] | None:
    def text(key: str) -> str:
        return translation.text(metadata.get(key), (*path, key))

    host, password, db = text("redisHost"), text("redisPassword"), text("db") or "0"
    if not host:
        translation.problem((*path, "redisHost"), "required, but missing")
        return None
    try:
        address = parse_address(host if ":" in host else f"{host}:6379")
    except ValueError:
        translation.problem((*path, "redisHost"), 'must be "host:port"')
        return None
    if not (db.isascii() and db.isdecimal()):
        translation.problem((*path, "db"), "must be the number of a database")
        return None
    # Layotto turns the verification of certificates off.
    tls = text("enableTLS") in _TRUE
    scheme, query = ("rediss", "?ssl_cert_reqs=none") if tls else ("redis", "")
    credentials = f":{quote(password, safe='')}@" if password else ""
    return {"type": "redis", "url": f"{scheme}://{credentials}{address}/{db}{query}"}


def _memory(
    translation: Translation, metadata: dict[str, Any], path: KeyPath
) -> dict[str, Any] | None:
    return {"type": "memory"}


_TYPES: dict[str, Callable[[Translation, dict[str, Any], KeyPath], dict[str, Any] | None]] = {
    "redis": _redis,
    "in-memory": _memory,
}
