"""What `anywasm run` puts around its plugin: a listener, and what is behind it."""

from __future__ import annotations

from urllib.parse import urlsplit

from anywasm.core.errors import ConfigError
from anywasm.plugins.config import (
    AccessLogConfig,
    Address,
    AppConfig,
    ClusterConfig,
    ClusterTlsConfig,
    DirectResponseConfig,
    ListenerConfig,
    PluginConfig,
    RouteConfig,
)
from anywasm.plugins.config.address import parse_address

LISTENER = "run"
_UPSTREAM = "upstream"
_PORTS = {"http": 80, "https": 443}


def function_server(plugin: PluginConfig, listen: Address) -> AppConfig:
    """Serves the plugin as a function."""
    return AppConfig(listeners=(ListenerConfig(name=LISTENER, address=listen),), plugins=(plugin,))


def filter_server(
    plugin: PluginConfig, listen: Address, upstream: str | None, access_log: bool
) -> AppConfig:
    """Serves the plugin as the only filter in front of an upstream, or of 200 `ok`.

    Raises:
        ConfigError: When `upstream` is no URL of a server.
    """
    if upstream is None:
        route = RouteConfig(direct_response=DirectResponseConfig(body="ok\n"))
        clusters = []
    else:
        cluster, host = _cluster(upstream)
        clusters = [cluster]
        # What is asked for here is another host's name, which the upstream need not answer to.
        route = RouteConfig(cluster=cluster.name, host_rewrite=host)
    listener = ListenerConfig(
        name=LISTENER,
        address=listen,
        filters=(plugin.name,),
        routes=(route,),
        access_log=AccessLogConfig() if access_log else None,
    )
    return AppConfig(listeners=(listener,), plugins=(plugin,), clusters=tuple(clusters))


def listen_address(text: str) -> Address:
    """What `--listen` names.

    Raises:
        ConfigError: When it is no address.
    """
    try:
        return parse_address(text)
    except ValueError as error:
        raise ConfigError(f"--listen {text}: {error}") from None


def _cluster(url: str) -> tuple[ClusterConfig, str]:
    """The upstream that a URL names, and the host that it answers to."""
    try:
        parts = urlsplit(url)
        port = parts.port
        default = _PORTS[parts.scheme]
        if parts.path not in ("", "/") or parts.query or parts.fragment or "@" in parts.netloc:
            raise ValueError
        host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
        endpoint = parse_address(f"{host or ''}:{default if port is None else port}")
        if endpoint.port == 0:
            raise ValueError
    except (ValueError, KeyError):
        raise ConfigError(
            f"--upstream {url}: must be http://HOST[:PORT] or https://HOST[:PORT]"
        ) from None
    tls = ClusterTlsConfig() if parts.scheme == "https" else None
    return ClusterConfig(name=_UPSTREAM, endpoints=(endpoint,), tls=tls), parts.netloc
