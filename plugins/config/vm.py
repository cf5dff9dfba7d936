"""The VM that a plugin runs in."""

from __future__ import annotations

import json
import re
from typing import Annotated, Any

from pydantic import AfterValidator, Field, PlainValidator, field_validator, model_validator

from anywasm.core.registry import known_engines
from anywasm.plugins.compiling.limits import CompileLimits
from anywasm.plugins.config.fetch import FetchConfig, ModuleUrl
from anywasm.plugins.config.file_path import FilePath
from anywasm.plugins.config.model import CrossCheckError, Model, Problem
from anywasm.plugins.config.units import Size, Timeout


def encode_configuration(value: object) -> bytes:
    """What the guest reads: text as UTF-8, anything else as compact JSON, null as nothing.

    Raises:
        ValueError: When JSON cannot say it.
    """
    if value is None:
        return b""
    if isinstance(value, bytes):
        return value
    if isinstance(value, str):
        return value.encode()
    try:
        text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
        return text.encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise ValueError(f"must be text or something that JSON can say ({error})") from None


def _hexadecimal(digits: int) -> AfterValidator:
    def check(value: str) -> str:
        if not re.fullmatch(r"[0-9A-Fa-f]+", value, re.ASCII) or len(value) != digits:
            raise ValueError(f"must be {digits} hexadecimal digits")
        return value.lower()

    return AfterValidator(check)


def _environment(variables: dict[str, str]) -> dict[str, str]:
    for name, value in variables.items():
        if not name or "=" in name or "\0" in name + value:
            raise ValueError(f"variable {name!r}: a name has no '=', and nothing has a NUL")
    return variables


#: Bytes for the guest; written as text, or as anything that is handed on as JSON.
GuestConfiguration = Annotated[
    bytes, PlainValidator(encode_configuration, json_schema_input_type=Any)
]


class VmConfig(Model):
    """Which module runs, in which engine, and what its VM is told."""

    engine: str = "wasmtime"
    """Name of the WebAssembly engine; `anywasm engines` lists them."""
    path: FilePath | None = None
    """The module. A relative path starts at the folder of the configuration file."""
    url: ModuleUrl | None = None
    """Instead of a path: `https://`, `http://`, or `oci://REGISTRY/IMAGE[:TAG][@sha256:DIGEST]`."""
    fetch: FetchConfig = FetchConfig()
    """How it is fetched from there."""
    max_module_bytes: Size = 64 * 1024 * 1024
    """What the module may be at most, from a file or a URL; there `fetch.max_bytes` counts, too."""
    compile_timeout: Timeout = 60.0
    """How long compiling the module may take."""
    compile_memory: Size = 2 * 1024 * 1024 * 1024
    """What the process that compiles it may have."""
    sha256: Annotated[str, _hexadecimal(64)] | None = None
    """Checksum that the module must have, hexadecimal."""
    md5: Annotated[str, _hexadecimal(32)] | None = None
    """The same with MD5, for existing configurations."""
    vm_id: str = ""
    """Plugins with equal `vm_id`, module and VM configuration may share an instance."""
    env: Annotated[dict[str, str], AfterValidator(_environment)] = Field(default_factory=dict)
    """Environment variables of the guest."""
    configuration: GuestConfiguration = b""
    """What the guest reads in `proxy_on_vm_start`: text, or any value, sent as JSON."""

    @property
    def compile_limits(self) -> CompileLimits:
        """What compiling the module may take."""
        return CompileLimits(self.compile_timeout, self.compile_memory)

    @field_validator("engine")
    @classmethod
    def _known(cls, value: str) -> str:
        known = known_engines()
        if value not in known:
            raise ValueError(f"unknown engine {json.dumps(value)}; known: {', '.join(known)}")
        return value

    @model_validator(mode="after")
    def _one_source(self) -> VmConfig:
        problems: list[Problem] = []
        if self.path is not None and self.url is not None:
            problems.append((("url",), "path and url exclude each other; keep path"))
        elif self.path is None and self.url is None:
            problems.append((("path",), "required, but missing: the module's file, or a url"))
        if problems:
            raise CrossCheckError(problems)
        return self
