"""Modules from web servers: what is followed, what is refused, what is kept."""

from __future__ import annotations

import hashlib
import shutil
import ssl
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from anywasm.plugins.config import VmConfig
from anywasm.plugins.errors import PluginLoadError
from anywasm.plugins.remote import addresses
from anywasm.plugins.remote import http as http_module
from anywasm.plugins.source import read_source

Webs = Callable[..., Any]
OK: dict[str, str] = {}


def config(url: str, fetch: dict[str, Any] | None = None, **vm: Any) -> VmConfig:
    return VmConfig.model_validate({"url": url, "fetch": fetch or {}, **vm})


def module(box: Any, tail: bytes = b"") -> bytes:
    wasm: bytes = box.WASM + tail
    return wasm


def test_a_module_is_fetched_once(web: Webs, box: Any) -> None:
    server = web(lambda _: (200, OK, module(box)))
    source = read_source(config(f"{server.url}/m.wasm?signature=secret"))
    assert source.wasm == module(box)
    assert source.place == f"{server.url}/m.wasm"
    assert read_source(config(f"{server.url}/m.wasm?signature=secret")) == source
    assert [request.path for request in server.requests] == ["/m.wasm?signature=secret"]


@pytest.mark.parametrize(
    ("validator", "condition"),
    [("etag", "if-none-match"), ("last-modified", "if-modified-since")],
)
def test_a_newer_one_is_asked_for(web: Webs, box: Any, validator: str, condition: str) -> None:
    served = {"version": b"1"}

    def answer(request: Any) -> Any:
        value = f'"{served["version"].decode()}"'
        if request.headers.get(condition) == value:
            return 304, {validator: value}, b""
        return 200, {validator: value}, module(box, served["version"])

    server = web(answer)
    given = config(server.url, {"pull_policy": "Always"})
    assert read_source(given).wasm[-1:] == b"1"
    assert read_source(given).wasm[-1:] == b"1"
    assert condition in server.requests[1].headers
    served["version"] = b"2"
    assert read_source(given).wasm[-1:] == b"2"
    assert read_source(config(server.url)).wasm[-1:] == b"2"
    assert len(server.requests) == 3
    served["version"] = b"3"
    assert read_source(config(server.url), refresh=True).wasm[-1:] == b"3"


def test_what_is_not_what_was_pinned_is_refused_and_not_kept(
    web: Webs, box: Any, cache: Path
) -> None:
    server = web(lambda _: (200, OK, module(box)))
    good = hashlib.sha256(module(box)).hexdigest()
    with pytest.raises(PluginLoadError, match=r"has sha256 .* is pinned"):
        read_source(config(server.url, sha256="0" * 64))
    with pytest.raises(PluginLoadError, match=r"has md5 .* is pinned"):
        read_source(config(server.url, md5="0" * 32))
    assert not cache.exists()
    assert read_source(config(server.url, sha256=good)).sha256 == good
    # Now it is here, and a pin needs no server, whatever the URL.
    assert read_source(config("https://no.such.host.invalid/", sha256=good)).sha256 == good
    # What was damaged on the disk is not taken.
    (cache / f"{good}.wasm").write_bytes(b"damaged")
    assert read_source(config(server.url)).sha256 == good
    assert len(server.requests) == 4


def test_a_folder_of_others_is_not_used(web: Webs, box: Any, cache: Path) -> None:
    server = web(lambda _: (200, OK, module(box)))
    cache.mkdir(parents=True)
    cache.chmod(0o777)
    for _ in range(2):
        read_source(config(server.url))
    assert len(server.requests) == 2
    assert list(cache.iterdir()) == []


def test_redirects_to_private_addresses(web: Webs, box: Any) -> None:
    inside = web(lambda _: (200, OK, module(box)))
    outside = web(lambda request: (302, {"location": f"{inside.url}/secret?{request.path}"}, b""))
    with pytest.raises(PluginLoadError, match=r"sends us to the private address 127.0.0.1"):
        read_source(config(outside.url))
    assert inside.requests == []
    allowed = {"private_redirects": True, "username": "me", "password_env": "HOME"}
    assert read_source(config(outside.url, allowed)).wasm == module(box)
    # Nobody but the host that was named gets the password.
    assert "authorization" in outside.requests[-1].headers
    assert "authorization" not in inside.requests[-1].headers


def test_a_redirect_on_the_same_host_is_followed(web: Webs, box: Any) -> None:
    def answer(request: Any) -> Any:
        if request.path == "/":
            return 301, {"location": "/m.wasm"}, b""
        return 200, OK, module(box)

    assert read_source(config(web(answer).url + "/")).wasm == module(box)


def test_redirects_without_end(web: Webs) -> None:
    server = web(lambda _: (302, {"location": "/again"}, b""))
    with pytest.raises(PluginLoadError, match="more than 5 redirects"):
        read_source(config(server.url))
    assert len(server.requests) == 6


@pytest.mark.parametrize(
    "location", ["file:///etc/passwd", "ftp://x/y", "http://a:b@x/", "http://"]
)
def test_redirects_to_what_is_no_http(web: Webs, location: str) -> None:
    server = web(lambda _: (302, {"location": location}, b""))
    with pytest.raises(PluginLoadError):
        read_source(config(server.url, {"private_redirects": True, "retries": 0}))


@pytest.mark.parametrize(
    ("address", "public"),
    [
        ("93.184.216.34", True),
        ("2606:2800:220:1:248:1893:25c8:1946", True),
        ("127.0.0.1", False),
        ("10.1.2.3", False),
        ("169.254.169.254", False),
        ("100.64.0.1", False),
        ("0.0.0.0", False),
        ("224.0.0.1", False),
        ("::1", False),
        ("fe80::1", False),
        ("fd00::1", False),
        # IPv4 in the clothes of IPv6.
        ("::ffff:127.0.0.1", False),
        ("64:ff9b::a9fe:a9fe", False),
        ("2002:7f00:1::", False),
    ],
)
def test_public_addresses(address: str, public: bool) -> None:
    assert addresses.is_public(address) is public


def test_what_was_checked_is_what_is_connected_to(
    web: Webs, box: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A name that leads elsewhere the second time it is asked for has no second time."""
    server = web(lambda _: (200, OK, module(box)))
    asked: list[str] = []

    def resolve(host: str, port: int) -> list[str]:
        asked.append(host)
        return ["127.0.0.1"] if len(asked) == 1 else ["203.0.113.1"]

    monkeypatch.setattr(http_module, "resolve", resolve)
    assert read_source(config(f"http://rebinds.test:{server.port}/")).wasm == module(box)
    assert asked == ["rebinds.test"]
    assert server.requests[0].headers["host"] == f"rebinds.test:{server.port}"


def test_too_long_too_late_and_unavailable(web: Webs, box: Any) -> None:
    long = web(lambda _: (200, OK, module(box, bytes(2000))))
    with pytest.raises(PluginLoadError, match=r"longer than 1000 bytes; raise fetch.max_bytes"):
        read_source(config(long.url, {"max_bytes": 1000}))
    done = threading.Event()

    def hang(_: Any) -> Any:
        done.wait(20)
        return 200, OK, b""

    late = web(hang)
    with pytest.raises(PluginLoadError, match="cannot be fetched"):
        read_source(config(late.url, {"timeout": 0.1, "retries": 0}))
    done.set()
    failing = web(lambda _: (503, OK, b"a secret"))
    with pytest.raises(PluginLoadError, match=r"answered 503$"):
        read_source(config(failing.url, {"retries": 2}))
    assert len(failing.requests) == 3
    with pytest.raises(PluginLoadError, match="answered 404"):
        read_source(config(web(lambda _: (404, OK, b"")).url))
    with pytest.raises(PluginLoadError, match="content-encoding"):
        read_source(config(web(lambda _: (200, {"content-encoding": "gzip"}, b"x")).url))
    with pytest.raises(PluginLoadError, match="is empty"):
        read_source(config(web(lambda _: (200, OK, b"")).url))
    with pytest.raises(PluginLoadError, match=r"no.such.host.invalid cannot be resolved"):
        read_source(config("https://no.such.host.invalid/m.wasm"))


def test_a_server_that_recovers(web: Webs, box: Any) -> None:
    answers = iter([(500, OK, b""), (429, OK, b""), (200, OK, module(box))])
    assert read_source(config(web(lambda _: next(answers)).url)).wasm == module(box)


def test_tls(web: Webs, box: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    openssl = shutil.which("openssl")
    assert openssl
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    command = (
        "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 "
        "-subj /CN=modules.test -addext subjectAltName=DNS:modules.test"
    )
    subprocess.run(
        [openssl, *command.split(), "-keyout", str(key), "-out", str(certificate)],
        check=True,
        capture_output=True,
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    plain = web(lambda _: (200, OK, module(box)))
    server = web(
        lambda request: (
            (302, {"location": plain.url}, b"")
            if request.path == "/down"
            else (200, OK, module(box))
        ),
        context,
    )
    monkeypatch.setattr(http_module, "resolve", lambda host, port: ["127.0.0.1"])
    url = f"https://modules.test:{server.port}"
    trusting = {"ca_file": str(certificate), "retries": 0, "private_redirects": True}
    assert read_source(config(url, trusting)).wasm == module(box)
    with pytest.raises(PluginLoadError, match="certificate"):
        read_source(config(f"{url}/other", {"retries": 0}))
    with pytest.raises(PluginLoadError, match="from TLS to plain text"):
        read_source(config(f"{url}/down", trusting))
    with pytest.raises(PluginLoadError, match="certificate"):
        read_source(config(f"https://other.test:{server.port}", trusting))
    assert plain.requests == []
