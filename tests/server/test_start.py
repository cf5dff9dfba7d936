"""What cannot be started says so once, and leaves nothing behind."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from anywasm.core.errors import ConfigError
from anywasm.plugins.config import ManagementConfig


@pytest.fixture
def taken() -> Any:
    """A port that somebody else listens on."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield listening.getsockname()[1]


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port: int = listening.getsockname()[1]
        return port


def refused(place: tuple[str, int] | str) -> bool:
    family = socket.AF_UNIX if isinstance(place, str) else socket.AF_INET
    with socket.socket(family) as probe:
        return probe.connect_ex(place) != 0


def listeners(*ports: int) -> list[dict[str, Any]]:
    return [
        {"name": f"number{index}", "address": f"127.0.0.1:{port}"}
        for index, port in enumerate(ports)
    ]


def test_port_in_use(serving: Any, taken: int) -> None:
    first, admin = free_port(), free_port()
    with pytest.raises(ConfigError) as caught:
        serving(listeners=listeners(first, taken), management={"address": f"127.0.0.1:{admin}"})
    assert "listener 'number1'" in str(caught.value)
    assert f"127.0.0.1:{taken}" in str(caught.value)
    assert "in use" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert refused(("127.0.0.1", first))
    assert refused(("127.0.0.1", admin))


def test_management_port_in_use(serving: Any, taken: int) -> None:
    port = free_port()
    with pytest.raises(ConfigError, match=f"management API.*127.0.0.1:{taken}.*in use"):
        serving(listeners=listeners(port), management={"address": f"127.0.0.1:{taken}"})
    assert refused(("127.0.0.1", port))


@pytest.mark.parametrize("host", ["no-such-host.invalid", "two..dots"])
def test_host_that_does_not_resolve(serving: Any, host: str) -> None:
    with pytest.raises(ConfigError, match="listener 'main' cannot listen"):
        serving(listeners=[{"name": "main", "address": f"{host}:0"}])
    with pytest.raises(ConfigError, match="management API cannot listen"):
        serving(management={"address": f"{host}:0", "token": "secret"})


@pytest.mark.parametrize(
    ("content", "told"),
    [(b"", "is empty"), (b"\0asm\1\0\0\0\xff", ""), (b"no module", ""), (None, "cannot read")],
    ids=["empty", "malformed", "text", "missing"],
)
def test_module_that_does_not_load(
    serving: Any, guest: Any, tmp_path: Path, engine: str, content: bytes | None, told: str
) -> None:
    path = tmp_path / "bad.wasm"
    if content is not None:
        path.write_bytes(content)
    port = free_port()
    good = guest.plugin("good", guest.answers("x"), engine)
    bad = {"name": "bad", "vm_config": {"engine": engine, "path": str(path)}}
    with pytest.raises(ConfigError) as caught:
        serving([good, bad], listeners=listeners(port))
    assert str(caught.value).startswith("plugin 'bad'")
    assert str(path) in str(caught.value)
    assert told in str(caught.value)
    assert refused(("127.0.0.1", port))


def test_guest_that_does_not_start(serving: Any, guest: Any, engine: str) -> None:
    with pytest.raises(ConfigError) as caught:
        serving([guest.plugin("bad", guest.answers("x"), engine, start="unreachable")])
    assert str(caught.value).startswith("plugin 'bad' cannot start: ")
    assert str(caught.value).count("bad") == 1


def test_module_that_needs_what_no_host_has(serving: Any, guest: Any) -> None:
    path = guest.source(
        """(module (import "env" "no_such_thing" (func)) (memory (export "memory") 1)
        (func (export "proxy_abi_version_0_2_0")))"""
    )
    with pytest.raises(ConfigError, match="no_such_thing"):
        serving([{"name": "bad", "vm_config": {"path": str(path)}}])


def test_state_store_of_unknown_type(serving: Any) -> None:
    port = free_port()
    with pytest.raises(ConfigError, match=r'state_stores.*"etcd"; known: memory, redis'):
        serving(listeners=listeners(port), state_stores={"state_demo": {"type": "etcd"}})
    assert refused(("127.0.0.1", port))


def test_unknown_engine(serving: Any, guest: Any) -> None:
    plugin = guest.plugin("a", guest.answers("x"), "v9")
    with pytest.raises(ValidationError, match='unknown engine "v9"; known: wasmtime'):
        serving([plugin])


def test_unix_socket_that_is_no_socket(serving: Any, tmp_path: Path) -> None:
    path = tmp_path / "precious.txt"
    path.write_text("precious")
    with pytest.raises(ConfigError, match="listener 'main' cannot listen"):
        serving(listeners=[{"name": "main", "address": f"unix:{path}"}])
    with pytest.raises(ConfigError, match="management API cannot listen"):
        serving(management={"address": f"unix:{path}"})
    assert path.read_text() == "precious"


def test_unix_socket_left_by_a_dead_server(serving: Any, guest: Any, tmp_path: Path) -> None:
    main, admin = tmp_path / "main.sock", tmp_path / "admin.sock"
    for path in (main, admin):
        with socket.socket(socket.AF_UNIX) as dead:
            dead.bind(str(path))
    running = serving(
        [guest.plugin("hello", guest.answers("hello"))],
        listeners=[{"name": "main", "address": f"unix:{main}"}],
        management={"address": f"unix:{admin}"},
    )
    assert running.ask(id="hello").body == b"hello"
    assert running.manage("list").status == 200
    # Whoever may connect may run code.
    assert admin.stat().st_mode & 0o077 == 0
    running.stop()
    assert not main.exists()
    assert not admin.exists()


def test_a_second_start_after_a_failed_one(serving: Any, guest: Any, taken: int) -> None:
    port = free_port()
    plugins = [guest.plugin("hello", guest.answers("hello"))]
    with pytest.raises(ConfigError):
        serving(plugins, listeners=listeners(port, taken))
    running = serving(plugins, listeners=listeners(port))
    assert running.ask_at("number0", id="hello").body == b"hello"


def test_management_is_for_this_machine_by_default(serving: Any) -> None:
    assert ManagementConfig().address.host == "127.0.0.1"
    assert serving().server.admin is None
    with pytest.raises(ValidationError, match="token"):
        serving(management={"address": "0.0.0.0:0", "token": None})
