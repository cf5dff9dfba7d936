"""The bits of the property `response.flags`."""

from __future__ import annotations

import pytest

from anywasm.server.filters.response_flags import RESPONSE_FLAGS
from anywasm.server.upstream.failure import FailureReason


@pytest.mark.parametrize(
    ("reason", "bit"),
    [
        (FailureReason.LOCAL_RESET, 0x8),
        (FailureReason.CONNECTION_FAILURE, 0x20),
        (FailureReason.CONNECTION_TIMEOUT, 0x20),
        (FailureReason.CONNECTION_TERMINATION, 0x40),
        (FailureReason.OVERFLOW, 0x80),
        (FailureReason.PROTOCOL_ERROR, 0x800000),
    ],
)
def test_every_failure_of_an_upstream_has_envoys_bit(reason: FailureReason, bit: int) -> None:
    assert RESPONSE_FLAGS[reason.flags] == bit
