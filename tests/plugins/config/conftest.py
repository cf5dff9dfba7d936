from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from anywasm.core.errors import ConfigError
from anywasm.plugins.config import LoadedConfig, load_config

Load = Callable[..., LoadedConfig]
Refused = Callable[..., list[str]]


@pytest.fixture(autouse=True)
def _no_token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ANYWASM_MANAGEMENT_TOKEN", raising=False)


@pytest.fixture
def load(tmp_path: Path) -> Load:
    """Writes a configuration and loads it."""

    def write_and_load(text: str | bytes, name: str = "anywasm.yaml") -> LoadedConfig:
        file = tmp_path / name
        file.write_bytes(text if isinstance(text, bytes) else text.encode())
        return load_config(file)

    return write_and_load


@pytest.fixture
def refused(load: Load, tmp_path: Path) -> Refused:
    """Loads what must be refused; the lines of the message, without the folder."""

    def load_and_fail(text: str | bytes, name: str = "anywasm.yaml") -> list[str]:
        with pytest.raises(ConfigError) as caught:
            load(text, name)
        return [line.removeprefix(f"{tmp_path}/") for line in str(caught.value).splitlines()]

    return load_and_fail
