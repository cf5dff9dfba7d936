"""Modules from a real registry, and from servers that are none."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx2
import pytest

from anywasm.plugins.config import VmConfig
from anywasm.plugins.errors import PluginLoadError
from anywasm.plugins.remote.reference import parse_reference
from anywasm.plugins.source import read_source

WASM_LAYER = "application/vnd.module.wasm.content.layer.v1+wasm"
WASM_CONFIG = "application/vnd.module.wasm.config.v1+json"
TAR = "application/vnd.oci.image.layer.v1.tar"
DOCKER_TAR = "application/vnd.docker.image.rootfs.diff.tar.gzip"
#: No registry here has a certificate.
PLAIN = {"plain_http": True, "retries": 0}


def image(url: str, **fetch: Any) -> VmConfig:
    return VmConfig.model_validate({"url": f"oci://{url}", "fetch": PLAIN | fetch})


def layouts(box: Any, wasm: bytes) -> dict[str, dict[str, Any]]:
    """An image of each kind that there is, with the same module."""
    files = {"plugin.wasm": wasm, "README.md": b"read me"}
    return {
        "wasm": {"layers": [(WASM_LAYER, wasm)], "config_type": WASM_CONFIG},
        "wasm-cncf": {
            "layers": [("application/wasm", wasm)],
            "config_type": "application/vnd.wasm.config.v0+json",
        },
        "single": {"layers": [("application/octet-stream", wasm)]},
        "docker": {
            "layers": [(DOCKER_TAR, box.archive(files))],
            "manifest_type": box.DOCKER_MANIFEST,
        },
        "oci-tar": {"layers": [(TAR, box.archive({"./plugin.wasm": wasm}, compress=False))]},
        "compat": {"layers": [(f"{TAR}+gzip", box.archive({"plugin.wasm": wasm}))]},
        "other-name": {"layers": [(f"{TAR}+gzip", box.archive({"filter.wasm": wasm}))]},
        "topmost": {
            "layers": [
                (f"{TAR}+gzip", box.archive({"plugin.wasm": wasm + b"old"})),
                (f"{TAR}+gzip", box.archive(files)),
            ]
        },
        "higress": {
            "layers": [
                ("application/vnd.module.wasm.spec.v1+yaml", b"a: 1"),
                ("application/vnd.module.wasm.doc.v1+markdown", b"# A"),
                (f"{TAR}+gzip", box.archive(files)),
            ]
        },
    }


@pytest.mark.parametrize(
    "layout",
    [
        "wasm",
        "wasm-cncf",
        "single",
        "docker",
        "oci-tar",
        "compat",
        "other-name",
        "topmost",
        "higress",
    ],
)
def test_each_layout(registry: Any, box: Any, layout: str) -> None:
    wasm = box.WASM + layout.encode()
    pushed = registry.push(f"x/{layout}", **layouts(box, wasm)[layout])
    assert read_source(image(f"{registry.host}/x/{layout}:1")).wasm == wasm
    named = f"{registry.host}/x/{layout}@{pushed['digest']}"
    assert read_source(image(named)).wasm == wasm


def test_an_index(registry: Any, box: Any) -> None:
    kinds = {("linux", "amd64"): b"1", ("wasip1", "wasm"): b"2", ("unknown", "unknown"): b"3"}
    manifests = [
        {
            **registry.push("index", [(WASM_LAYER, box.WASM + tail)], tag=f"t{tail.decode()}"),
            "platform": {"os": os, "architecture": architecture},
        }
        for (os, architecture), tail in kinds.items()
    ]
    for tag, among, chosen in (("all", [2, 0, 1], b"2"), ("two", [2, 0], b"1")):
        index = {
            "schemaVersion": 2,
            "mediaType": box.OCI_INDEX,
            "manifests": [manifests[number] for number in among],
        }
        registry.manifest("index", tag, index)
        assert read_source(image(f"{registry.host}/index:{tag}")).wasm == box.WASM + chosen


def test_a_tag_that_moves(registry: Any, box: Any) -> None:
    url = f"{registry.host}/moving"
    for tail in (b"1", b"2"):
        pushed = registry.push("moving", [(WASM_LAYER, box.WASM + tail)], tag="latest")
        # The earlier one is good until somebody asks.
        assert read_source(image(url)).wasm == box.WASM + b"1"
        assert read_source(image(url), refresh=True).wasm == box.WASM + tail
        registry.push("moving", [(WASM_LAYER, box.WASM + b"1")], tag="latest")
        read_source(image(url), refresh=True)
    fixed = f"{url}:latest@{pushed['digest']}"
    assert read_source(image(fixed), refresh=True).wasm == box.WASM + b"2"


def test_pins_are_of_the_module(registry: Any, box: Any) -> None:
    registry.push("pinned", [(WASM_LAYER, box.WASM)])
    sha256 = hashlib.sha256(box.WASM).hexdigest()
    vm = {"url": f"oci://{registry.host}/pinned:1", "fetch": PLAIN}
    with pytest.raises(PluginLoadError, match="is pinned"):
        read_source(VmConfig.model_validate({**vm, "sha256": "0" * 64}))
    assert read_source(VmConfig.model_validate({**vm, "sha256": sha256})).sha256 == sha256


def test_images_that_cannot_be_used(registry: Any, box: Any) -> None:
    bomb = box.archive({"plugin.wasm": box.WASM, "zeros": bytes(10_000_000)})
    cases: list[tuple[str, list[tuple[str, bytes]], str, dict[str, Any]]] = [
        ("text", [("text/plain", b"no archive at all")], "neither a module nor an arch", {}),
        ("none", [(TAR, box.archive({"a.txt": b""}, compress=False))], "has no plugin.wasm", {}),
        ("zstd", [(f"{TAR}+zstd", b"\x28\xb5\x2f\xfdxx")], "zstd is not served", {}),
        ("docs", [("text/markdown", b"# A")], "its layers: none", {}),
        ("two", [(TAR, box.archive({"a.wasm": b"", "b.wasm": b""}))], "has no plugin.wasm", {}),
        ("bomb", [(f"{TAR}+gzip", bomb)], "twice fetch.max_bytes", {"max_bytes": 100_000}),
        ("big", [(WASM_LAYER, bytes(5000))], "more than fetch.max_bytes", {"max_bytes": 4000}),
    ]
    for name, layers, told, fetch in cases:
        registry.push(name, layers)
        with pytest.raises(PluginLoadError, match=told):
            read_source(image(f"{registry.host}/{name}:1", **fetch))
    with pytest.raises(PluginLoadError, match="404, there is no such image"):
        read_source(image(f"{registry.host}/nothing:1"))
    with pytest.raises(PluginLoadError, match="is no image; write oci://"):
        read_source(image(f"{registry.host}/UPPER:1"))


@pytest.mark.parametrize(
    ("url", "registry", "repository", "version"),
    [
        ("oci://ghcr.io/a/b:1.2", "ghcr.io", "a/b", "1.2"),
        ("oci://localhost/a", "localhost", "a", "latest"),
        ("oci://[::1]:5000/a/b", "[::1]:5000", "a/b", "latest"),
        ("oci://a/b", "registry-1.docker.io", "a/b", "latest"),
        ("oci://a", "registry-1.docker.io", "library/a", "latest"),
        (f"oci://r.io/a:1@sha256:{'0' * 64}", "r.io", "a", f"sha256:{'0' * 64}"),
    ],
)
def test_references(url: str, registry: str, repository: str, version: str) -> None:
    reference = parse_reference(url)
    assert (reference.registry, reference.repository) == (registry, repository)
    assert reference.version == version


# --- credentials ---------------------------------------------------------------------------------


def test_credentials(
    private_registry: Any, box: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    private_registry.push("p", [(WASM_LAYER, box.WASM)])
    host = private_registry.host
    url = f"{host}/p:1"
    with pytest.raises(PluginLoadError, match="wants credentials"):
        read_source(image(url))
    monkeypatch.setenv("REGISTRY_PASSWORD", "secret")
    (tmp_path / "password").write_text("secret\n")
    pair = base64.b64encode(b"me:secret").decode()
    files = {
        "auth.json": {"auths": {host: {"auth": pair}}},
        "user.json": {"auths": {f"http://{host}": {"username": "me", "password": "secret"}}},
        "wrong.json": {"auths": {host: {"username": "me", "password": "wrong"}}},
        "other.json": {"auths": {"ghcr.io": {"auth": pair}}, "credsStore": "desktop"},
        "token.json": {"auths": {host: {"identitytoken": "x"}}},
        "bad.json": {"auths": {host: {"auth": "***"}}},
    }
    for name, content in files.items():
        (tmp_path / name).write_text(json.dumps(content))
    (tmp_path / "no.json").write_text('{"auths": secret')
    for good in (
        {"username": "me", "password_env": "REGISTRY_PASSWORD"},
        {"username": "me", "password_file": str(tmp_path / "password")},
        {"docker_config": str(tmp_path / "auth.json")},
        {"docker_config": str(tmp_path / "user.json")},
    ):
        assert read_source(image(url, pull_policy="always", **good)).wasm == box.WASM
    # Who has none does not get what others have fetched with theirs.
    with pytest.raises(PluginLoadError, match="wants credentials"):
        read_source(image(url))
    for bad, told in (
        ({"username": "me", "password_env": "NO_SUCH_PASSWORD"}, "NO_SUCH_PASSWORD .* is not set"),
        ({"username": "me", "password_file": str(tmp_path / "no")}, "No such file"),
        ({"username": "me2", "password_env": "REGISTRY_PASSWORD"}, "refuses the credentials"),
        ({"docker_config": str(tmp_path / "wrong.json")}, "refuses the credentials"),
        ({"docker_config": str(tmp_path / "other.json")}, "credential helpers are not run"),
        ({"docker_config": str(tmp_path / "token.json")}, "identity tokens are not served"),
        ({"docker_config": str(tmp_path / "bad.json")}, "is no base64"),
        ({"docker_config": str(tmp_path / "no.json")}, "it is no JSON"),
    ):
        with pytest.raises(PluginLoadError, match=told) as caught:
            read_source(image(url, pull_policy="always", **bad))
        assert "secret" not in str(caught.value).replace("password", "")


class Gatekeeper:
    """Asks for tokens as Docker Hub does, in front of the real registry, which needs none."""

    def __init__(self, registry: Any) -> None:
        self.registry = registry
        self.realm = ""
        self.asked: list[dict[str, list[str]]] = []

    def answer(self, request: Any) -> Any:
        parts = urlsplit(request.path)
        authorization = request.headers.get("authorization", "")
        if parts.path == "/token":
            self.asked.append(parse_qs(parts.query))
            if authorization not in ("", f"Basic {base64.b64encode(b'me:secret').decode()}"):
                return 401, {}, b""
            return 200, {}, b'{"token": "opensesame", "expires_in": 60}'
        if authorization != "Bearer opensesame":
            challenge = f'Bearer realm="{self.realm}",service="registry.test",scope="whatever"'
            return 401, {"www-authenticate": challenge}, b"{}"
        forwarded = httpx2.get(
            f"http://{self.registry.host}{request.path}",
            headers={"accept": request.headers.get("accept", "*/*")},
            trust_env=False,
        )
        return forwarded.status_code, {}, forwarded.content


def test_tokens(
    registry: Any,
    box: Any,
    web: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    registry.push("guarded/image", [(WASM_LAYER, box.WASM)])
    gate = Gatekeeper(registry)
    server, elsewhere = web(gate.answer), web(gate.answer)
    url = f"127.0.0.1:{server.port}/guarded/image:1"
    gate.realm = f"{server.url}/token"
    assert read_source(image(url)).wasm == box.WASM
    asked = {"service": ["registry.test"], "scope": ["repository:guarded/image:pull"]}
    assert gate.asked == [asked]
    monkeypatch.setenv("P", "secret")
    known = {"username": "me", "password_env": "P", "pull_policy": "always"}
    assert read_source(image(url, **known)).wasm == box.WASM
    monkeypatch.setenv("P", "wrong")
    with pytest.raises(PluginLoadError, match="the token service refuses the credentials"):
        read_source(image(url, **known))
    # A token service is where the registry says, so no private place without permission.
    gate.realm = f"{elsewhere.url}/token"
    monkeypatch.setenv("P", "secret")
    with pytest.raises(PluginLoadError, match="sends us to the private address"):
        read_source(image(url, **known))
    assert elsewhere.requests == []
    assert read_source(image(url, **known, private_redirects=True)).wasm == box.WASM


@pytest.mark.parametrize(
    ("manifest", "told"),
    [
        (b"[]", "is no JSON object"),
        (b"[" * 100_000, "is no JSON object"),
        (b"{}", "has no list of layers"),
        (b'{"layers": [1]}', "has no list of layers"),
        (b'{"layers": [{"digest": "md5:1"}]}', "has no sha256 digest"),
        (b'{"layers": [{"digest": "sha256:%b"}]}' % (b"0" * 64), "a layer has digest"),
        (b'{"manifests": []}', "names no manifest"),
        (b'{"manifests": [{"digest": "sha256:%b"}]}' % (b"0" * 64), "the manifest has digest"),
    ],
)
def test_registries_that_lie(web: Callable[..., Any], manifest: bytes, told: str) -> None:
    server = web(lambda _: (200, {}, manifest))
    with pytest.raises(PluginLoadError, match=told):
        read_source(image(f"127.0.0.1:{server.port}/x"))
