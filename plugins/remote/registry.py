"""Reads images from registries (OCI Distribution Specification, Docker Registry HTTP API V2)."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from anywasm.plugins.config import FetchConfig
from anywasm.plugins.errors import PluginLoadError
from anywasm.plugins.remote.credentials import basic_authorization
from anywasm.plugins.remote.http import Answer, HttpFetcher, Origin
from anywasm.plugins.remote.layers import find_module
from anywasm.plugins.remote.reference import ImageReference

#: Bytes of a manifest, of an index, of a token service's answer.
MAX_DOCUMENT = 4 * 1024 * 1024

_MANIFESTS = (
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.docker.distribution.manifest.v2+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
)
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}", re.ASCII)
_PARAMETER = re.compile(r'([a-z]+)="([^"]*)"')


@dataclass(frozen=True, slots=True)
class Image:
    """An image's manifest.

    Attributes:
        digest: The digest of what its name leads to: of the index, where that is one.
        manifest: The manifest.
    """

    digest: str
    manifest: Mapping[str, Any]


class Registry:
    """One repository of one registry. For one thread; a context manager.

    Everything is checked against the digest that it is asked for by; only a tag is the registry's
    word.

    Args:
        reference: Which image.
        config: How to fetch.
    """

    def __init__(self, reference: ImageReference, config: FetchConfig) -> None:
        self._reference = reference
        self._config = config
        scheme = "http" if config.plain_http else "https"
        self._base = f"{scheme}://{reference.registry}/v2/{reference.repository}"
        self._http = HttpFetcher(config, Origin.of(self._base))
        self._authorization: str | None = None

    def __enter__(self) -> Registry:
        """Itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the connections."""
        self._http.__exit__()

    def image(self) -> Image:
        """The manifest that the reference leads to.

        Raises:
            PluginLoadError: When it cannot be had, or is not what its digest says.
        """
        digest, document = self._manifest(self._reference.version)
        manifests = document.get("manifests")
        if isinstance(manifests, list):
            _, document = self._manifest(_chosen(manifests))
        return Image(digest, document)

    def module(self, image: Image) -> bytes:
        """The module in an image.

        Raises:
            PluginLoadError: When there is none, or it cannot be had.
        """
        layers = image.manifest.get("layers")
        if not isinstance(layers, list) or not all(isinstance(layer, dict) for layer in layers):
            raise PluginLoadError(f"{self._base}: the manifest has no list of layers")
        return find_module(layers, self._blob, self._config.max_bytes)

    def _manifest(self, version: str) -> tuple[str, Mapping[str, Any]]:
        answer = self._get(
            f"{self._base}/manifests/{version}", {"accept": ", ".join(_MANIFESTS)}, MAX_DOCUMENT
        )
        digest = f"sha256:{hashlib.sha256(answer.body).hexdigest()}"
        if _DIGEST.fullmatch(version) and digest != version:
            raise PluginLoadError(f"{self._base}: the manifest has digest {digest}, not {version}")
        return digest, _mapping(answer.body, f"{self._base}: the manifest")

    def _blob(self, layer: Mapping[str, Any]) -> bytes:
        digest, size = layer.get("digest"), layer.get("size")
        if not isinstance(digest, str) or not _DIGEST.fullmatch(digest):
            raise PluginLoadError(f"{self._base}: a layer has no sha256 digest")
        if isinstance(size, int) and size > self._config.max_bytes:
            raise PluginLoadError(
                f"{self._base}: a layer has {size} bytes, more than fetch.max_bytes"
            )
        body = self._get(f"{self._base}/blobs/{digest}", {}, None).body
        found = f"sha256:{hashlib.sha256(body).hexdigest()}"
        if found != digest:
            raise PluginLoadError(f"{self._base}: a layer has digest {found}, not {digest}")
        return body

    # --- authentication ---

    def _get(self, url: str, headers: Mapping[str, str], limit: int | None) -> Answer:
        for _ in range(2):
            answer = self._http.get(
                url,
                headers,
                authorization=self._authorization,
                accepted=frozenset({401, 403, 404}),
                max_bytes=limit,
            )
            if answer.status != 401 or self._authorization is not None:
                break
            self._authorization = self._authorize(answer.headers.get("www-authenticate", ""))
        if answer.status in (401, 403):
            raise PluginLoadError(f"{url}: {answer.status}, the registry refuses the credentials")
        if answer.status == 404:
            raise PluginLoadError(f"{url}: 404, there is no such image")
        return answer

    def _authorize(self, challenge: str) -> str:
        """What the registry's challenge asks for (Docker's token authentication, or Basic)."""
        basic = basic_authorization(self._config, self._reference.registry)
        scheme, _, rest = challenge.partition(" ")
        if scheme.lower() == "basic" and basic is not None:
            return basic
        parameters = dict(_PARAMETER.findall(rest))
        if scheme.lower() != "bearer" or "realm" not in parameters:
            raise PluginLoadError(f"{self._base}: 401, it wants credentials: set fetch.username")
        asked = {
            "scope": f"repository:{self._reference.repository}:pull",
            **({"service": parameters["service"]} if "service" in parameters else {}),
        }
        realm = parameters["realm"]
        answer = self._http.get(
            f"{realm}{'&' if '?' in realm else '?'}{urlencode(asked)}",
            authorization=basic,
            accepted=frozenset({401, 403}),
            max_bytes=MAX_DOCUMENT,
        )
        if answer.status in (401, 403):
            raise PluginLoadError(
                f"{self._base}: {answer.status}, the token service refuses the credentials"
            )
        document = _mapping(answer.body, f"{self._base}: the token service's answer")
        token = document.get("token") or document.get("access_token")
        if not isinstance(token, str) or not token.isprintable():
            raise PluginLoadError(f"{self._base}: the token service gave no token")
        return f"Bearer {token}"


def _mapping(body: bytes, what: str) -> Mapping[str, Any]:
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        document = None
    if not isinstance(document, dict):
        raise PluginLoadError(f"{what} is no JSON object")
    return document


def _chosen(manifests: list[Any]) -> str:
    """The digest of the image for WebAssembly in an index, or else of the first that is one."""

    def rank(item: dict[str, Any]) -> int:
        platform = item.get("platform")
        known = platform if isinstance(platform, dict) else {}
        if known.get("architecture") == "wasm" or known.get("os") in ("wasi", "wasip1"):
            return 0
        # Builders add manifests of attestations, for no platform.
        return 2 if known.get("os") == "unknown" else 1

    fit = [
        item
        for item in manifests
        if isinstance(item, dict) and _DIGEST.fullmatch(str(item.get("digest")))
    ]
    if not fit:
        raise PluginLoadError("the image's index names no manifest")
    return str(min(fit, key=rank)["digest"])
