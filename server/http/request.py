"""The head of a request, as parsed."""

from __future__ import annotations

from typing import TypeAlias

Header: TypeAlias = "tuple[bytes, bytes]"
Headers: TypeAlias = "list[Header]"


class Request:
    """A parsed request head.

    Attributes:
        method: The method, such as `b"GET"`.
        target: The request target as sent: origin form, absolute form or `*`.
        http_version: `"1.0"` or `"1.1"`.
        headers: Lower-cased names with values, in the order received, duplicates kept.
        keep_alive: The client can use the connection again.
        content_length: The declared length of the body in bytes, None where there is none.
        has_body: A body follows, though it may turn out to be empty.
        expect_continue: The client waits for `100 Continue` before it sends the body.
        received: The request was read to its end (not necessarily delivered yet).
    """

    __slots__ = (
        "content_length",
        "expect_continue",
        "has_body",
        "headers",
        "http_version",
        "keep_alive",
        "method",
        "received",
        "target",
    )

    def __init__(
        self,
        method: bytes,
        target: bytes,
        http_version: str,
        headers: Headers,
        keep_alive: bool,
        content_length: int | None,
        has_body: bool,
        expect_continue: bool,
    ) -> None:
        self.method = method
        self.target = target
        self.http_version = http_version
        self.headers = headers
        self.keep_alive = keep_alive
        self.content_length = content_length
        self.has_body = has_body
        self.expect_continue = expect_continue
        self.received = not has_body
