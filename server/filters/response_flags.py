"""Envoy's response flags, as its access log writes them and as the bits a guest reads."""

from __future__ import annotations

#: The bits of the property `response.flags` (Envoy, `CoreResponseFlag`), for those set here.
RESPONSE_FLAGS = {
    "UT": 1 << 2,
    "LR": 1 << 3,
    "UF": 1 << 5,
    "UC": 1 << 6,
    "UO": 1 << 7,
    "DC": 1 << 14,
    "SI": 1 << 16,
    "UPE": 1 << 23,
}
