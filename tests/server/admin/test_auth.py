"""Who is let into the management API."""

from __future__ import annotations

from typing import Any

import pytest

TOKEN = "correct-horse"


@pytest.fixture
def guarded(serving: Any) -> Any:
    return serving(management={"address": "127.0.0.1:0", "token": TOKEN})


def test_refused(guarded: Any, tools: Any) -> None:
    near = (TOKEN, f"Basic {TOKEN}", f"Bearer {TOKEN}x", f"Bearer {TOKEN[:-1]}")
    for given in (None, "", "Bearer", "Bearer ", "Bearer \xff", *near):
        for target in ("/wasm/list", "/wasm/install", "/metrics", "/healthz", "/none"):
            headers = {} if given is None else {"authorization": given}
            answer = tools.ask(guarded.admin, target, headers=headers)
            assert answer.status == 401, (given, target)
            assert answer.values("www-authenticate") == ['Bearer realm="anywasm"']
            # The same to everybody: nothing about what exists, or how near the token was.
            assert answer.json == {"error": "a valid bearer token is needed"}


def test_refused_install_changes_nothing(guarded: Any, guest: Any) -> None:
    plugin = guest.plugin("hello", guest.answers("hello"))
    assert guarded.manage("install", plugin).status == 401
    assert guarded.ask(id="hello").status == 404


def test_admitted(guarded: Any, guest: Any) -> None:
    headers = {"Authorization": f"Bearer {TOKEN}"}
    assert guarded.manage("install", guest.plugin("a", guest.answers("a")), **headers).status == 200
    assert guarded.manage("list", **headers).json["plugins"][0]["name"] == "a"


def test_page_in_a_browser_needs_a_token(
    managing: Any, guarded: Any, guest: Any, tools: Any
) -> None:
    plugin = guest.plugin("hello", guest.answers("hello"))
    page = {"Origin": "https://attacker.example", "content-type": "text/plain"}
    running = managing()
    answer = running.manage("install", plugin, **page)
    assert answer.status == 403
    assert "token" in answer.json["error"]
    assert running.ask(id="hello").status == 404
    renamed = {"Host": "attacker.example:34998"}
    assert running.manage("install", plugin, **renamed).status == 403
    for name in ("localhost", "127.0.0.1:34998", "[::1]:34998"):
        assert tools.ask(running.admin, "/wasm/list", headers={"Host": name}).status == 200
    headers = page | {"Authorization": f"Bearer {TOKEN}"}
    assert guarded.manage("install", plugin, **headers).status == 200


def test_token_is_in_no_message(guarded: Any, caplog: pytest.LogCaptureFixture) -> None:
    guarded.manage("list", Authorization=f"Bearer {TOKEN}")
    guarded.manage("install", {"name": "x", "vm_config": {"path": "/none"}})
    assert TOKEN not in repr(guarded.server.config)
    assert TOKEN not in caplog.text
