"""GET over HTTP(S) for what others may have written the URL of.

The host that the configuration names is the operator's word. Where that host sends us is its own:
a redirect, or a token service, is followed only to public addresses, unless the operator allows
private ones, and never from TLS to plain text. A name is resolved once; what was checked is what is
connected to, whatever the name means a moment later.
"""

from __future__ import annotations

import random
import ssl
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeVar
from urllib.parse import urljoin, urlsplit

import httpx2

from anywasm.plugins.config import FetchConfig
from anywasm.plugins.errors import PluginLoadError
from anywasm.plugins.remote.addresses import is_public, resolve

T = TypeVar("T")

MAX_REDIRECTS = 5
#: Seconds before the second attempt, doubled for each further one, up to the last.
RETRY_FIRST = 0.2
RETRY_LAST = 5.0

_PORTS = {"http": 80, "https": 443}
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_LATER = frozenset({408, 429, 500, 502, 503, 504})


class TransientError(PluginLoadError):
    """It may work in a moment."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a server said.

    Attributes:
        status: The status; 304, or less than 300 unless others were asked for.
        headers: The headers; look up in lower case.
        body: The whole body.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class Origin:
    """Scheme, host and port of a URL."""

    scheme: str
    host: str
    port: int

    @classmethod
    def of(cls, url: str) -> Origin:
        """That of `url`.

        Raises:
            PluginLoadError: When it is no URL for HTTP.
        """
        try:
            parts = urlsplit(url)
            host, port = parts.hostname, parts.port
        except ValueError:
            host = port = None
        if not host or parts.scheme not in _PORTS or parts.username is not None:
            raise PluginLoadError(f"{shown(url)} is no URL of HTTP")
        return cls(parts.scheme, host, port or _PORTS[parts.scheme])


def shown(url: str) -> str:
    """A URL for messages: without its query, which may hold a signature, and without a user."""
    place = url.partition("?")[0].partition("#")[0]
    scheme, separator, rest = place.partition("://")
    host, slash, path = rest.partition("/")
    return f"{scheme}{separator}{host.rpartition('@')[2]}{slash}{path}"


class HttpFetcher:
    """Fetches from one origin, and from where it leads. For one thread; a context manager.

    Args:
        config: Limits, retries, and what is allowed.
        home: The origin that the configuration names.
    """

    def __init__(self, config: FetchConfig, home: Origin) -> None:
        self._config = config
        self._home = home
        try:
            context = ssl.create_default_context(
                cafile=None if config.ca_file is None else str(config.ca_file)
            )
        except (OSError, ssl.SSLError) as error:
            raise PluginLoadError(f"ca_file {config.ca_file} cannot be used: {error}") from error
        # Not by proxies of the environment: they would resolve names anew, past the check.
        self._client = httpx2.Client(verify=context, trust_env=False, follow_redirects=False)

    def __enter__(self) -> HttpFetcher:
        """Itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the connections."""
        self._client.close()

    def get(
        self,
        url: str,
        headers: Mapping[str, str] | None = None,
        *,
        authorization: str | None = None,
        accepted: frozenset[int] = frozenset(),
        max_bytes: int | None = None,
    ) -> Answer:
        """Fetch `url`, again where that may help.

        Args:
            url: What to fetch.
            headers: Sent along.
            authorization: The header of that name; only for the URL's own origin.
            accepted: Statuses from 400 on that are answers, too.
            max_bytes: A longer body is an error; by default `FetchConfig.max_bytes`.

        Raises:
            PluginLoadError: When it cannot be had.
        """
        limit = self._config.max_bytes if max_bytes is None else max_bytes

        def attempt() -> Answer:
            deadline = time.monotonic() + self._config.timeout
            return self._follow(url, headers or {}, authorization, accepted, limit, deadline)

        return self._retried(attempt)

    def _retried(self, attempt: Callable[[], T]) -> T:
        pause = RETRY_FIRST
        for _ in range(self._config.retries):
            try:
                return attempt()
            except TransientError:
                time.sleep(pause * random.uniform(0.8, 1.2))
                pause = min(2 * pause, RETRY_LAST)
        return attempt()

    def _follow(
        self,
        url: str,
        headers: Mapping[str, str],
        authorization: str | None,
        accepted: frozenset[int],
        limit: int,
        deadline: float,
    ) -> Answer:
        first = Origin.of(url)
        for _ in range(MAX_REDIRECTS + 1):
            origin = Origin.of(url)
            sent = {"accept-encoding": "identity", "user-agent": "anywasm", **headers}
            if authorization is not None and origin == first:
                sent["authorization"] = authorization
            answer = self._ask(url, origin, sent, accepted, limit, deadline)
            if isinstance(answer, Answer):
                return answer
            url = urljoin(url, answer)
        raise PluginLoadError(f"{shown(url)}: more than {MAX_REDIRECTS} redirects")

    def _ask(
        self,
        url: str,
        origin: Origin,
        headers: Mapping[str, str],
        accepted: frozenset[int],
        limit: int,
        deadline: float,
    ) -> Answer | str:
        """One answer, or where it sends us."""
        failure: Exception | None = None
        for address in self._addresses(url, origin):
            try:
                return self._connect(url, origin, address, headers, accepted, limit, deadline)
            except (httpx2.ConnectError, httpx2.ConnectTimeout) as error:
                failure = error  # the next address may do
            except (httpx2.TransportError, OSError) as error:
                failure = error
                break
        raise TransientError(
            f"{shown(url)} cannot be fetched: {failure or 'no address'}"
        ) from failure

    def _addresses(self, url: str, origin: Origin) -> list[str]:
        if origin != self._home and self._home.scheme == "https" != origin.scheme:
            raise PluginLoadError(
                f"{shown(url)}: {self._home.host} sends us from TLS to plain text; not followed"
            )
        addresses = resolve(origin.host, origin.port)
        named = (origin.host, origin.port) == (self._home.host, self._home.port)
        if named or self._config.private_redirects:
            return addresses
        refused = [address for address in addresses if not is_public(address)]
        if refused:
            raise PluginLoadError(
                f"{shown(url)}: {self._home.host} sends us to the private address {refused[0]}; "
                "set fetch.private_redirects if that is meant"
            )
        return addresses

    def _connect(
        self,
        url: str,
        origin: Origin,
        address: str,
        headers: Mapping[str, str],
        accepted: frozenset[int],
        limit: int,
        deadline: float,
    ) -> Answer | str:
        parts = urlsplit(url)
        host = f"[{origin.host}]" if ":" in origin.host else origin.host
        given = host if origin.port == _PORTS[origin.scheme] else f"{host}:{origin.port}"
        place = f"[{address}]" if ":" in address else address
        target = parts._replace(netloc=f"{place}:{origin.port}", fragment="").geturl()
        request = self._client.build_request(
            "GET",
            target,
            headers={**headers, "host": given},
            timeout=max(0.001, deadline - time.monotonic()),
            # The certificate is that of the name, not of the address.
            extensions={"sni_hostname": origin.host} if origin.scheme == "https" else None,
        )
        response = self._client.send(request, stream=True)
        try:
            status = response.status_code
            if status in _REDIRECTS and "location" in response.headers:
                return str(response.headers["location"])
            if status in _LATER:
                raise TransientError(f"{shown(url)}: the server answered {status}")
            if not (200 <= status < 300 or status == 304 or status in accepted):
                raise PluginLoadError(f"{shown(url)}: the server answered {status}")
            if response.headers.get("content-encoding", "identity") != "identity":
                raise PluginLoadError(f"{shown(url)}: the server sent a content-encoding unasked")
            body = _read(url, response, limit, deadline)
            return Answer(status, {k.lower(): v for k, v in response.headers.items()}, body)
        finally:
            response.close()


def _read(url: str, response: httpx2.Response, limit: int, deadline: float) -> bytes:
    body = bytearray()
    for piece in response.iter_raw():
        body += piece
        if len(body) > limit:
            raise PluginLoadError(
                f"{shown(url)} is longer than {limit} bytes; raise fetch.max_bytes if that is meant"
            )
        if time.monotonic() > deadline:
            raise TransientError(f"{shown(url)}: took longer than fetch.timeout")
    return bytes(body)
