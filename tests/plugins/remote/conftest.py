"""Web servers and a real registry on this machine, and images for it."""

from __future__ import annotations

import base64
import contextlib
import gzip
import hashlib
import io
import json
import shutil
import socket
import ssl
import subprocess
import tarfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx2
import pytest

from anywasm.core.artifact_cache import CACHE_DIR
from anywasm.plugins.remote import http as http_module

WASM = b"\0asm\1\0\0\0"

Reply = tuple[int, dict[str, str], bytes]


@dataclass
class Request:
    """One request that a server got; header names in lower case."""

    path: str
    headers: dict[str, str]


class Web:
    """A web server; `answer` says what it answers."""

    def __init__(self, answer: Callable[[Request], Reply], context: ssl.SSLContext | None) -> None:
        self.requests: list[Request] = []
        web = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                headers = {name.lower(): value for name, value in self.headers.items()}
                request = Request(self.path, headers)
                web.requests.append(request)
                status, given, body = answer(request)
                self.send_response(status)
                for name, value in {"content-length": str(len(body)), **given}.items():
                    self.send_header(name, value)
                self.end_headers()
                with contextlib.suppress(OSError):  # who has read enough goes away
                    self.wfile.write(body)

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        if context is not None:
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self.port: int = self._server.server_address[1]
        self.url = f"{'http' if context is None else 'https'}://127.0.0.1:{self.port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


@pytest.fixture
def web() -> Iterator[Callable[..., Web]]:
    """Start web servers: `web(answer)`, with TLS `web(answer, context)`."""
    started: list[Web] = []

    def start(answer: Callable[[Request], Reply], context: ssl.SSLContext | None = None) -> Web:
        started.append(Web(answer, context))
        return started[-1]

    yield start
    for item in started:
        item.close()


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where this test's modules are kept. Nobody waits long between two attempts."""
    folder = tmp_path / "cache"
    monkeypatch.setenv(CACHE_DIR, str(folder))
    monkeypatch.setattr(http_module, "RETRY_FIRST", 0.001)
    return folder / "modules"


# --- a registry ----------------------------------------------------------------------------------

OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_INDEX = "application/vnd.oci.image.index.v1+json"
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"

#: A user and a password, and the same for the registry's htpasswd file.
USER, PASSWORD = "me", "secret"
HTPASSWD = "me:$2y$05$abcdefghijklmnopqrstuuOQiyCxlgf/oeuTqixKmWdcYUh4Hjl0a\n"


def digest(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def archive(files: dict[str, bytes], compress: bool = True) -> bytes:
    """A layer with files."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return gzip.compress(packed.getvalue(), mtime=0) if compress else packed.getvalue()


@dataclass
class Registry:
    """A registry that runs here, and a client that pushes to it."""

    host: str
    headers: dict[str, str] = field(default_factory=dict)

    def blob(self, repository: str, data: bytes) -> dict[str, Any]:
        """Push a blob; a descriptor of it, without a media type."""
        base = f"http://{self.host}/v2/{repository}/blobs/uploads/"
        place = httpx2.post(base, headers=self.headers, trust_env=False).headers["location"]
        joined = f"{place}{'&' if '?' in place else '?'}digest={digest(data)}"
        pushed = httpx2.put(joined, content=data, headers=self.headers, trust_env=False)
        assert pushed.status_code == 201, pushed.text
        return {"digest": digest(data), "size": len(data)}

    def manifest(self, repository: str, version: str, manifest: dict[str, Any]) -> dict[str, Any]:
        """Push a manifest; a descriptor of it."""
        data = json.dumps(manifest).encode()
        pushed = httpx2.put(
            f"http://{self.host}/v2/{repository}/manifests/{version}",
            content=data,
            headers={"content-type": manifest["mediaType"], **self.headers},
            trust_env=False,
        )
        assert pushed.status_code == 201, pushed.text
        return {"mediaType": manifest["mediaType"], "digest": digest(data), "size": len(data)}

    def push(
        self,
        repository: str,
        layers: list[tuple[str, bytes]],
        tag: str = "1",
        *,
        manifest_type: str = OCI_MANIFEST,
        config_type: str = "application/vnd.oci.image.config.v1+json",
    ) -> dict[str, Any]:
        """Push an image of layers, each a media type and its content; its descriptor."""
        config = {"mediaType": config_type, **self.blob(repository, b"{}")}
        manifest = {
            "schemaVersion": 2,
            "mediaType": manifest_type,
            "config": config,
            "layers": [
                {"mediaType": kind, **self.blob(repository, content)} for kind, content in layers
            ],
        }
        return self.manifest(repository, tag, manifest)


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port: int = listening.getsockname()[1]
        return port


@contextlib.contextmanager
def _serve_registry(folder: Path, auth: str = "") -> Iterator[str]:
    command = shutil.which("docker-registry")
    assert command, "these tests need a registry: apt-get install docker-registry"
    port = _free_port()
    config = folder / "config.yml"
    config.write_text(
        "version: 0.1\nlog: {level: error}\n"
        f"storage: {{filesystem: {{rootdirectory: {folder}}}}}\n"
        f"http: {{addr: '127.0.0.1:{port}'}}\n{auth}"
    )
    with (
        open(folder / "log", "wb") as log,
        subprocess.Popen([command, "serve", str(config)], stdout=log, stderr=log) as process,
    ):
        try:
            end = time.monotonic() + 20
            while True:
                try:
                    httpx2.get(f"http://127.0.0.1:{port}/v2/", trust_env=False)
                    break
                except httpx2.TransportError:
                    assert process.poll() is None, (folder / "log").read_text()
                    assert time.monotonic() < end
                    time.sleep(0.02)
            yield f"127.0.0.1:{port}"
        finally:
            process.terminate()


@pytest.fixture(scope="session")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    """An open registry."""
    with _serve_registry(tmp_path_factory.mktemp("registry")) as host:
        yield Registry(host)


@pytest.fixture(scope="session")
def private_registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    """A registry for whoever is `me` with the password `secret`."""
    folder = tmp_path_factory.mktemp("private")
    (folder / "htpasswd").write_text(HTPASSWD)
    auth = f"auth: {{htpasswd: {{realm: here, path: {folder / 'htpasswd'}}}}}\n"
    with _serve_registry(folder, auth) as host:
        pair = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
        yield Registry(host, {"authorization": f"Basic {pair}"})


class Box:
    """What tests cannot import from here."""

    WASM = WASM
    OCI_MANIFEST = OCI_MANIFEST
    OCI_INDEX = OCI_INDEX
    DOCKER_MANIFEST = DOCKER_MANIFEST
    digest = staticmethod(digest)
    archive = staticmethod(archive)


@pytest.fixture
def box() -> type[Box]:
    return Box
