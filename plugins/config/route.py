"""Where a request goes."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import AfterValidator, Field, model_validator

from anywasm.plugins.config.model import CrossCheckError, Model, Name, Problem
from anywasm.plugins.config.units import Duration

_HEADER_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+", re.ASCII)
_HOST = re.compile(r"[A-Za-z0-9._:\[\]-]+", re.ASCII)


def _sendable(headers: dict[str, str]) -> dict[str, str]:
    for name, value in headers.items():
        if not _HEADER_NAME.fullmatch(name):
            raise ValueError(f"{name!r} is no name of a header")
        if re.search(r"[\x00-\x08\x0a-\x1f\x7f]", value):
            raise ValueError(f"header {name!r}: the value must not hold control characters")
    return headers


def _path(value: str) -> str:
    if not value.startswith("/") or re.search(r"[\x00-\x20\x7f]", value):
        raise ValueError('must start with "/" and hold neither spaces nor control characters')
    return value


def _host(value: str) -> str:
    if not _HOST.fullmatch(value):
        raise ValueError('must be a host, or "host:port"')
    return value


#: A path of an URL, or its beginning.
UrlPath = Annotated[str, AfterValidator(_path)]


class DirectResponseConfig(Model):
    """An answer that needs no upstream."""

    status: Annotated[int, Field(strict=True, ge=200, le=599)] = 200
    """The status code."""
    body: str = ""
    """The body, sent as UTF-8."""
    headers: Annotated[dict[str, str], AfterValidator(_sendable)] = Field(default_factory=dict)
    """Headers; without a `content-type` a body is `text/plain`."""


class RouteConfig(Model):
    """What happens to requests whose path begins so. The first route that fits is taken."""

    name: str = ""
    """What guests read as `xds.route_name`."""
    prefix: UrlPath = "/"
    """How the path begins."""
    path: UrlPath | None = None
    """The whole path without its query, instead of `prefix`."""
    cluster: Name | None = None
    """Name of the cluster that answers."""
    direct_response: DirectResponseConfig | None = None
    """An answer of the listener's own, instead of a cluster's."""
    timeout: Duration = 15.0
    """Until the whole response is there; then 504. 0: as long as it takes."""
    host_rewrite: Annotated[str, AfterValidator(_host)] | None = None
    """What the upstream sees as the host; by default what the client sent."""
    prefix_rewrite: UrlPath | None = None
    """What takes the place of `prefix`, or of `path`, in the path that the upstream sees."""

    @model_validator(mode="after")
    def _one_answer(self) -> RouteConfig:
        problems: list[Problem] = []
        if self.cluster is not None and self.direct_response is not None:
            message = "cluster and direct_response exclude each other; keep one"
            problems.append((("direct_response",), message))
        elif self.direct_response is not None:
            problems += [
                ((key,), "has no effect without a cluster; leave it out")
                for key in ("host_rewrite", "prefix_rewrite")
                if getattr(self, key) is not None
            ]
        elif self.cluster is None:
            problems.append(((), "needs a cluster, or a direct_response"))
        if self.path is not None and "prefix" in self.model_fields_set:
            problems.append((("path",), "path and prefix exclude each other; keep one"))
        if problems:
            raise CrossCheckError(problems)
        return self
