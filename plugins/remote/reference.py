"""The name of an image."""

from __future__ import annotations

import re
from dataclasses import dataclass

from anywasm.plugins.errors import PluginLoadError

_REFERENCE = re.compile(
    r"(?:(?P<host>localhost(?::\d+)?|[A-Za-z0-9.-]*[.][A-Za-z0-9.-]+(?::\d+)?|[A-Za-z0-9.-]+:\d+"
    r"|\[[0-9A-Fa-f:.]+\](?::\d+)?)/)?"
    r"(?P<repository>[a-z0-9]+(?:[._/-]+[a-z0-9]+)*)"
    r"(?::(?P<tag>[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}))?"
    r"(?:@(?P<digest>sha256:[0-9a-f]{64}))?",
    re.ASCII,
)


@dataclass(frozen=True, slots=True)
class ImageReference:
    """Which image, in the notation of Docker.

    Attributes:
        registry: Host, and port where it is given.
        repository: The image's name there.
        tag: The tag; `latest` where neither tag nor digest is given.
        digest: `sha256:` and the digest of its manifest, or None.
    """

    registry: str
    repository: str
    tag: str
    digest: str | None

    @property
    def version(self) -> str:
        """What the registry is asked for: the digest, else the tag."""
        return self.digest or self.tag


def parse_reference(url: str) -> ImageReference:
    """Read `oci://[REGISTRY/]IMAGE[:TAG][@sha256:DIGEST]`; without a registry it is Docker Hub's.

    Raises:
        PluginLoadError: When it is none.
    """
    found = _REFERENCE.fullmatch(url.removeprefix("oci://"))
    if found is None:
        raise PluginLoadError(
            f"{url} is no image; write oci://REGISTRY/IMAGE:TAG or oci://REGISTRY/IMAGE@sha256:..."
        )
    registry, repository = found["host"] or "docker.io", found["repository"]
    if registry in ("docker.io", "index.docker.io"):
        registry = "registry-1.docker.io"
        if "/" not in repository:
            repository = f"library/{repository}"
    return ImageReference(registry, repository, found["tag"] or "latest", found["digest"])
