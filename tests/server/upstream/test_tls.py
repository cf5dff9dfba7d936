"""TLS to an upstream: verified unless told otherwise."""

from __future__ import annotations

import ssl
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from anywasm.core.errors import ConfigError
from anywasm.server.upstream import Cluster, FailureReason, TlsOptions, UpstreamPool

Run = Callable[[Any], None]


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A PEM file with key and self-signed certificate for `up.test`."""
    folder = tmp_path_factory.mktemp("tls")
    key, certificate = folder / "key.pem", folder / "certificate.pem"
    command = (
        "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 "
        "-subj /CN=up.test -addext subjectAltName=DNS:up.test"
    )
    subprocess.run(
        [*command.split(), "-keyout", str(key), "-out", str(certificate)],
        check=True,
        capture_output=True,
    )
    certificate.write_bytes(certificate.read_bytes() + key.read_bytes())
    return certificate


@pytest.fixture
def server(certificate: Path) -> dict[str, Any]:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate)
    context.set_alpn_protocols(["h2", "http/1.1"])
    return {"ssl": context}


@pytest.mark.parametrize("insecure", [False, True])
def test_requests_go_over_tls(
    run: Run, up: Any, certificate: Path, server: dict[str, Any], insecure: bool
) -> None:
    names: list[Any] = []
    server["ssl"].sni_callback = lambda sock, name, context: names.append(name)

    async def script(peer: Any) -> None:
        tls = peer.writer.get_extra_info("ssl_object")
        assert tls.selected_alpn_protocol() == "http/1.1"
        await up.always_ok(peer)

    async def main() -> None:
        options = TlsOptions("up.test", None if insecure else str(certificate), insecure)
        async with up.serve(script, server=server, tls=options) as client:
            for _ in range(3):
                assert (await client.ask()).body == b"ok"
            assert client.upstream.accepted == 1
            assert names == ["up.test"]

    run(main())


@pytest.mark.parametrize("wrong", ["authority", "name"])
def test_a_certificate_that_does_not_fit_is_a_connection_failure(
    run: Run, up: Any, certificate: Path, server: dict[str, Any], wrong: str
) -> None:
    async def main() -> None:
        # Without a name the endpoint's own is looked for, here 127.0.0.1.
        options = (
            TlsOptions("up.test") if wrong == "authority" else TlsOptions(None, str(certificate))
        )
        async with up.serve(up.always_ok, server=server, tls=options) as client:
            failure = (await client.ask()).failure
            assert failure.reason is FailureReason.CONNECTION_FAILURE
            assert "certificate verify failed" in failure.detail

    run(main())


def test_a_plain_upstream_is_a_connection_failure(run: Run, up: Any) -> None:
    async def script(peer: Any) -> None:
        peer.send(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    async def main() -> None:
        async with up.serve(script, tls=TlsOptions(insecure=True)) as client:
            assert (await client.ask()).failure.reason is FailureReason.CONNECTION_FAILURE

    run(main())


def test_a_body_without_length_ends_with_the_connection(
    run: Run, up: Any, certificate: Path, server: dict[str, Any]
) -> None:
    async def main() -> None:
        options = TlsOptions("up.test", str(certificate))
        script = up.answering(b"HTTP/1.1 200 OK\r\n\r\n" + bytes(1 << 20))
        async with up.serve(script, server=server, tls=options) as client:
            answer = await client.ask()
            assert answer.events == ["headers", "data", "end", "complete"]
            assert len(answer.body) == 1 << 20

    run(main())


def test_a_switched_protocol_ends_both_ways_at_once(
    run: Run, up: Any, certificate: Path, server: dict[str, Any]
) -> None:
    async def script(peer: Any) -> None:
        await peer.head()
        peer.send(b"HTTP/1.1 101 x\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n")
        data = await peer.until(b"!")
        peer.send(data)
        if data == b"you!":
            return
        assert await peer.rest() == b"bye"

    async def main() -> None:
        options = TlsOptions("up.test", str(certificate))
        async with up.serve(script, server=server, tls=options) as client:
            for word in (b"me!", b"you!"):
                recorder, stream = client.begin(headers=[(b"upgrade", b"x")], upgrade=True)
                await up.eventually(lambda recorder=recorder: recorder.status == 101)
                stream.send_raw(word)
                await up.eventually(
                    lambda recorder=recorder, word=word: b"".join(recorder.raw) == word
                )
                if word == b"me!":
                    stream.send_raw(b"bye")
                    stream.close_raw()
                await recorder.ended.wait()
                assert recorder.events[-1] == "complete"

    run(main())


def test_a_missing_ca_file_is_named(tmp_path: Path) -> None:
    missing = str(tmp_path / "no.pem")
    with pytest.raises(ConfigError, match=r"no\.pem"):
        UpstreamPool(Cluster("up", endpoints=(("h", 1),), tls=TlsOptions(ca_file=missing)))
