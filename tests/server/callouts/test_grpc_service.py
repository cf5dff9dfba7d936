"""What guests may name as a gRPC upstream."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from anywasm.server.callouts.grpc_service import GrpcUpstream, find_upstream
from anywasm.server.upstream import Cluster, UpstreamClusters


def varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes((*out, value))


def text(number: int, value: bytes | str) -> bytes:
    data = value.encode() if isinstance(value, str) else value
    return varint(number << 3 | 2) + varint(len(data)) + data


def number(field: int, value: int) -> bytes:
    return varint(field << 3) + varint(value)


UP = Cluster("up", (("10.1.2.3", 50051), ("svc.test", 443), ("::1", 7)))
LOCAL = Cluster("outbound|80||local", path="/run/grpc.sock")


@pytest.fixture
def find() -> Callable[[bytes], GrpcUpstream | None]:
    clusters = UpstreamClusters()
    clusters.add(UP)
    clusters.add(LOCAL)
    return lambda upstream: find_upstream(upstream, clusters)


Find = Callable[[bytes], GrpcUpstream | None]


def test_a_name_is_a_cluster(find: Find) -> None:
    assert find(b"up") == GrpcUpstream(UP)
    assert find(b"outbound|80||local") == GrpcUpstream(LOCAL)


def test_envoy_grpc_names_a_cluster(find: Find) -> None:
    assert find(text(1, text(1, "up"))) == GrpcUpstream(UP)
    service = (
        text(5, text(1, "X-One") + text(2, "1"))
        + text(1, text(1, "up") + text(2, "auth.test"))
        + text(3, number(1, 2) + number(2, 500_000_000))
        + text(5, text(1, "x-two") + text(3, b"2"))
    )
    metadata = ((b"x-one", b"1"), (b"x-two", b"2"))
    assert find(service) == GrpcUpstream(UP, "auth.test", 2.5, metadata)


@pytest.mark.parametrize(
    ("target", "cluster"),
    [
        ("10.1.2.3:50051", UP),
        ("ipv4:10.1.2.3:50051", UP),
        ("dns:///svc.test:443", UP),
        ("dns:svc.test:443", UP),
        ("ipv6:[::1]:7", UP),
        ("unix:/run/grpc.sock", LOCAL),
        ("unix:///run/grpc.sock", LOCAL),
        ("10.1.2.3:50052", None),
        ("10.1.2.30:50051", None),
        ("svc.test", None),
        ("up", None),
        ("", None),
    ],
)
def test_google_grpc_must_name_a_configured_endpoint(
    find: Find, target: str, cluster: Cluster | None
) -> None:
    insecure = text(2, text(3, b""))
    expected = None if cluster is None else GrpcUpstream(cluster)
    assert find(text(2, text(1, target) + insecure + text(3, "prefix"))) == expected


@pytest.mark.parametrize(
    "upstream",
    [
        b"",
        b"nowhere",
        b"\xff\xfe",
        text(1, text(1, "nowhere")),
        text(1, b""),
        text(1, text(1, b"\xff")),
        text(1, number(1, 5)),
        number(1, 5),
        text(3, number(1, 5)),
        text(1, text(1, "up")) + b"\x0a",
        text(1, text(1, "up"))[:-1],
        text(1, text(1, "up")) + b"\x00\x00",
        text(1, text(1, "up")) + b"\x0b",
        text(1, text(1, "up")) + varint(8) + b"\xff" * 10 + b"\x01",
        text(1, text(1, "up")) + varint(8) + b"\xff" * 9 + b"\x7f",
        text(1, text(1, "up")) + text(3, number(1, (1 << 64) - 1)),
        text(1, text(1, "up")) + text(3, number(2, 1_000_000_000)),
        text(1, text(1, "up")) + text(3, text(1, "soon")),
        text(1, text(1, "up")) + text(5, number(1, 1)),
    ],
)
def test_anything_else_is_none(find: Find, upstream: bytes) -> None:
    assert find(upstream) is None


def test_fields_that_do_not_matter_are_passed_over(find: Find) -> None:
    other = varint(9 << 3 | 1) + bytes(8) + varint(10 << 3 | 5) + bytes(4) + number(11, 1)
    assert find(other + text(1, text(1, "up")) + other) == GrpcUpstream(UP)
