from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import BaseModel, ConfigDict

from anywasm import hookimpl, register_plugin, unregister_plugin
from anywasm.core.errors import ConfigError, StateStoreError
from anywasm.plugins.config import StateStoreConfig, load_config
from anywasm.server.state import (
    RegisterStateStore,
    known_state_store_types,
    open_state_store,
)


def config(**keys: object) -> StateStoreConfig:
    return StateStoreConfig.model_validate(keys)


def test_memory_answers_from_the_configuration() -> None:
    store = open_state_store("demo", config(type="memory", data={"book1": "100", "ü": "ö"}))
    assert store.get(b"book1", 1) == b"100"
    assert store.get("ü".encode(), 1) == "ö".encode()
    assert store.get(b"book2", 1) is None
    store.close()
    with pytest.raises(StateStoreError, match="'demo' is closed"):
        store.get(b"book1", 1)


def test_memory_with_a_key_prefix() -> None:
    store = open_state_store("demo", config(type="memory", data={"a||k": "v"}, key_prefix="a||"))
    assert store.get(b"k", 1) == b"v"


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"type": "reddis"}, 'state_stores.demo.type: unknown type "reddis"; known: memory, redis'),
        ({"type": "redis"}, "state_stores.demo.url: required, but missing"),
        (
            {"type": "redis", "url": "redis://h", "timeuot": 1},
            'state_stores.demo.timeuot: unknown key; did you mean "timeout"?',
        ),
        (
            {"type": "memory", "data": {"book1": 100}},
            "state_stores.demo.data.book1: must be text, not 100; put it in quotes",
        ),
    ],
)
def test_a_mistake_is_named_with_its_place(keys: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        open_state_store("demo", config(**keys))
    assert str(caught.value) == message


def test_the_place_in_the_file_is_named(tmp_path: Path) -> None:
    file = tmp_path / "anywasm.yaml"
    file.write_text(
        "listeners: [{name: a, address: '127.0.0.1:0'}]\nstate_stores:\n  demo: {type: reddis}\n"
    )
    store = load_config(file).config.state_stores["demo"]
    with pytest.raises(ConfigError) as caught:
        open_state_store("demo", store)
    assert str(caught.value).startswith(f"{file}:3: state_stores.demo.type: unknown type")


class EchoOptions(BaseModel):
    model_config = ConfigDict(extra="forbid")

    suffix: str = ""


class EchoStore:
    def __init__(self, name: str, options: EchoOptions) -> None:
        if options.suffix == "refused":
            raise ConfigError("suffix: not this one")
        self.answer = options.suffix.encode()

    def get(self, key: bytes, timeout: float) -> bytes | None:
        return key + self.answer

    def close(self) -> None:
        pass


class EchoPlugin:
    def __init__(self, type_name: str) -> None:
        self.type_name = type_name

    @hookimpl
    def register_state_stores(self, register: RegisterStateStore) -> None:
        register(self.type_name, EchoOptions, EchoStore)


@pytest.fixture
def echo(request: pytest.FixtureRequest) -> Iterator[None]:
    plugin = EchoPlugin(getattr(request, "param", "echo"))
    register_plugin(plugin)
    yield
    unregister_plugin(plugin)


@pytest.mark.usefixtures("echo")
def test_a_third_party_brings_a_type() -> None:
    assert "echo" in known_state_store_types()
    assert open_state_store("demo", config(type="echo", suffix="!")).get(b"hi", 1) == b"hi!"


@pytest.mark.usefixtures("echo")
def test_the_options_of_a_third_party_are_checked_alike() -> None:
    with pytest.raises(ConfigError) as unknown:
        open_state_store("demo", config(type="echo", sufix="!"))
    assert str(unknown.value) == 'state_stores.demo.sufix: unknown key; did you mean "suffix"?'
    with pytest.raises(ConfigError) as refused:
        open_state_store("demo", config(type="echo", suffix="refused"))
    assert str(refused.value) == "state_stores.demo: suffix: not this one"


def test_a_type_is_gone_with_its_plugin() -> None:
    assert known_state_store_types() == ("memory", "redis")


@pytest.mark.usefixtures("echo")
@pytest.mark.parametrize("echo", ["memory"], indirect=True)
def test_built_in_types_cannot_be_replaced() -> None:
    with pytest.warns(UserWarning, match="'memory' of .* is ignored"):
        store = open_state_store("demo", config(type="memory", data={"k": "v"}))
    assert store.get(b"k", 1) == b"v"
