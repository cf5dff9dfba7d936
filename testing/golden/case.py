"""A golden case: what to start, what to ask, and what Envoy answered."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from anywasm.core.errors import ConfigError
from anywasm.plugins.config.model import key_path_text
from anywasm.plugins.config.problems import problems_of

#: Headers or trailers, as they came.
Fields = tuple[tuple[str, str], ...]


class _Recorded(BaseModel):
    """One part of a case. Recorders write more than is compared, so unknown keys are fine."""

    model_config = ConfigDict(frozen=True, extra="ignore", use_attribute_docstrings=True)


class Request(_Recorded):
    """What a client sends, on a connection of its own."""

    path: str
    """The request target."""
    method: str = "GET"
    host: str = "example.test"
    headers: Fields = ()
    """Besides `host` and framing, in this order."""
    body: str = ""
    chunks: tuple[str, ...] | None = None
    """Instead of `body`: sent chunked, one write each."""
    trailers: Fields = ()
    """After the last chunk."""
    timeout: Annotated[float, Field(gt=0)] = 3.0
    """Seconds to wait for the whole answer."""
    wait: Annotated[float, Field(ge=0)] = 0.0
    """Seconds to wait after it, for what guests do on their own."""


class Answer(_Recorded):
    """What a client got."""

    status: int | None = None
    """None when there was no answer."""
    error: str | None = None
    """Why there was none."""
    headers: Fields = ()
    body: str = ""
    """As UTF-8 where it is that, else as Latin-1; what had arrived when the connection ended."""
    trailers: Fields = ()


class LogLine(_Recorded):
    """A line that the guest logged."""

    level: str
    msg: str


class Step(_Recorded):
    """One exchange."""

    request: Request
    expect: Answer
    log: tuple[LogLine, ...] | None = None
    """What the guest logged meanwhile; None when that was not recorded."""
    envoy_log: tuple[str, ...] = ()
    """What Envoy logged itself."""


class Options(_Recorded):
    """How the plugin was configured, beyond its configuration."""

    failure_policy: str | None = None
    cap: dict[str, Any] | None = None
    """Envoy's `capability_restriction_config`."""
    env: dict[str, str] = Field(default_factory=dict)
    vm_config: Any = None
    """What the guest reads in `proxy_on_vm_start`."""


class Extra(_Recorded):
    """Further options of Envoy's plugin configuration."""

    allow_on_headers_stop_iteration: bool | None = None
    failure_policy: str | None = None
    capability_restriction_config: dict[str, Any] | None = None


class Case(_Recorded):
    """One recorded plugin with its exchanges.

    A case without `wasm` runs the edge guest with the settings of `edge-fail-trap-default`.
    """

    id: str
    note: str = ""
    package: str | None = None
    """`name==version` of the PyPI package that has the module; None: it is beside the cases."""
    wasm: str = "guests/edge.wasm"
    """Its path there."""
    sha256: str | None = None
    root_id: str = ""
    vm_id: str = ""
    plugin_name: str | None = None
    plugin_config: Any = None
    """Text, or anything that is handed on as JSON."""
    plugin_config_extra: Extra = Extra()
    opts: Options = Options()
    services: tuple[tuple[str, int], ...] = ()
    """Further clusters: name and port."""
    start_ok: bool = True
    expect_start: str | None = None
    start_log: tuple[LogLine, ...] | None = None
    shutdown_log: tuple[LogLine, ...] | None = None
    steps: tuple[Step, ...] = ()

    @model_validator(mode="before")
    @classmethod
    def _default_guest(cls, data: Any) -> Any:
        if not isinstance(data, Mapping) or "wasm" in data:
            return data
        edge = {"root_id": "rid", "vm_id": "vm1", "plugin_name": "edgeplug", "plugin_config": "std"}
        return {**edge, **data}

    @property
    def starts(self) -> bool:
        """Whether the plugin must start; else the host must refuse it."""
        return self.start_ok and self.expect_start != "fail"

    @property
    def logs_complete(self) -> bool:
        """Whether the recorded log is all that the guest logged, and not a part of it."""
        return self.id.startswith("edge-")

    @property
    def failure_policy(self) -> str:
        """This project's name for it; without one, Envoy's default, which is to fail closed."""
        policy = self.opts.failure_policy or self.plugin_config_extra.failure_policy
        return policy or "fail_closed"

    @property
    def capabilities(self) -> dict[str, Any] | None:
        """What the guest is restricted to, as Envoy is told."""
        return self.opts.cap or self.plugin_config_extra.capability_restriction_config


def read_case(path: Path) -> Case:
    """Read one file.

    Raises:
        ConfigError: When it cannot be read or is no case; a line for each thing that is wrong.
    """
    try:
        data = json.loads(path.read_bytes())
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{path}: is no JSON: {error}") from error
    try:
        return Case.model_validate(data)
    except ValidationError as error:
        problems = problems_of(error, Case)
        lines = (
            f"{path}: {key_path_text(place) or 'the case'}: {what}" for place, what in problems
        )
        raise ConfigError("\n".join(lines)) from None


def read_cases(folder: Path, patterns: Sequence[str] = ()) -> list[tuple[Path, Case]]:
    """The cases of a folder, or of the folder `cases` in it, by file name.

    Args:
        folder: Where to look.
        patterns: Shell patterns for names of cases; none: all of them.

    Raises:
        ConfigError: When there are none, a pattern fits none, or one is malformed.
    """
    place = folder / "cases" if (folder / "cases").is_dir() else folder
    files = sorted(place.glob("*.json"))
    if not files:
        raise ConfigError(f"{place}: no golden cases (*.json) here")
    chosen = {path for pattern in patterns for path in place.glob(f"{pattern}.json")}
    if patterns and not chosen:
        raise ConfigError(f"{place}: no case fits {' or '.join(patterns)}")
    return [(path, read_case(path)) for path in files if not patterns or path in chosen]
