"""What the management API refuses, and how."""

from __future__ import annotations

import json
from typing import Any

import pytest


@pytest.fixture
def running(managing: Any, guest: Any) -> Any:
    """A server with one plugin."""
    return managing([guest.plugin("hello", guest.answers("hello"))])


ACTIONS = ("install", "update", "uninstall")
NO_NAMES: tuple[object, ...] = (None, 7, True, "", [], {})
NOT_OBJECTS = (
    b"",
    b"{",
    b"nonsense",
    b"[]",
    b"null",
    b"7",
    b'"text"',
    b"\xff\xfe\xfd",
    b"[" * 100_000,
)


@pytest.mark.parametrize("action", ACTIONS)
def test_body_that_is_no_object(running: Any, action: str) -> None:
    for body in NOT_OBJECTS:
        answer = running.manage(action, body)
        assert answer.status == 400, body[:9]
        assert answer.json == {"error": "invalid request body"}


@pytest.mark.parametrize("action", ACTIONS)
def test_name_of_the_wrong_type(running: Any, action: str) -> None:
    for body in ({}, *({"name": name} for name in NO_NAMES)):
        answer = running.manage(action, body)
        assert answer.status == 400, body
        assert answer.json == {"error": "can't get name property"}


@pytest.mark.parametrize("action", ["install", "update"])
def test_instance_num(running: Any, guest: Any, action: str) -> None:
    plugin = guest.plugin("other", guest.answers("other")) if action == "install" else {}
    name = "other" if plugin else "hello"
    for number, told in (
        (0, "instance_num should be greater than 0"),
        (-1, "instance_num should be greater than 0"),
        ("2", "can't get instance_num property"),
        (1.5, "can't get instance_num property"),
        (True, "can't get instance_num property"),
        (None, "can't get instance_num property"),
        ([], "can't get instance_num property"),
    ):
        answer = running.manage(action, plugin | {"name": name, "instance_num": number})
        assert answer.status == 400, number
        assert answer.json == {"error": told}
    assert [item["name"] for item in running.manage("list").json["plugins"]] == ["hello"]


def test_more_instances_than_is_sane(running: Any, guest: Any) -> None:
    for number in (10**6, 10**100):
        body = guest.plugin("other", guest.answers("other"), instance_num=number)
        answer = running.manage("install", body)
        assert answer.status == 400
        assert "instance_num" in answer.json["error"]


def test_update_without_anything_to_update(running: Any) -> None:
    answer = running.manage("update", {"name": "hello"})
    assert answer.status == 400
    assert answer.json == {"error": "can't get instance_num property"}


def test_install_without_vm_config(running: Any) -> None:
    for body in ({"name": "other"}, {"name": "other", "vm_config": None}):
        answer = running.manage("install", body)
        assert answer.status == 400
        assert answer.json == {"error": "nil vm config"}


def test_install_of_wrong_things(running: Any) -> None:
    changes: tuple[tuple[dict[str, Any], str], ...] = (
        ({"vm_config": 7}, "vm_config"),
        ({"vm_config": []}, "vm_config"),
        ({"vm_config": {}}, "path"),
        ({"vm_config": {"path": 7}}, "path"),
        ({"vm_config": {"path": "a\0b"}}, "path"),
        ({"vm_config": {"path": "x.wasm", "engine": "v9"}}, "unknown engine"),
        ({"vm_config": {"path": "x.wasm", "md5": "zz"}}, "md5"),
        ({"timeouts": {"call": -1}}, "timeouts.call"),
        ({"execution": "elsewhere"}, "execution"),
        ({"no_such_key": 1}, "no_such_key"),
        ({"name": "line\nfeed"}, "name"),
    )
    for change, told in changes:
        body = {"name": "other", "vm_config": {"path": "x.wasm"}} | change
        answer = running.manage("install", body)
        assert answer.status == 400, change
        assert told in answer.json["error"]
        assert "\n" not in answer.json["error"]


def test_json_that_says_nothing_sensible(running: Any) -> None:
    for text in (
        '{"name": "a", "vm_config": {"path": "\\ud800.wasm"}}',
        '{"name": "\\ud800", "vm_config": {"path": "a.wasm"}}',
        '{"name": "a", "vm_config": {"path": "a.wasm"}, "\\udfff": 1}',
        '{"name": "a", "instance_num": ' + "9" * 5000 + "}",
    ):
        answer = running.manage("install", text.encode())
        assert answer.status == 400, text[:60]
        assert answer.json == {"error": "invalid request body"}


def test_body_too_long(running: Any, tools: Any) -> None:
    body = json.dumps({"name": "x" * 2 * 1024 * 1024}).encode()
    # Chunked, so that nothing announces it.
    client = tools.Client(running.admin)
    head = b"POST /wasm/install HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: chunked\r\n\r\n"
    answer = client.raw(head + b"%x\r\n%b\r\n" % (len(body), body))
    assert answer.status == 413
    assert "1048576" in answer.json["error"]
    client.close()
    assert running.manage("list").status == 200


def test_content_type_does_not_matter(running: Any, guest: Any) -> None:
    # curl -d says it is a form; Layotto's documentation does it that way.
    plugin = guest.plugin("other", guest.answers("other"))
    headers = {"content-type": "application/x-www-form-urlencoded"}
    assert running.manage("install", plugin, **headers).status == 200


@pytest.mark.parametrize("action", ACTIONS)
def test_method(running: Any, tools: Any, action: str) -> None:
    for method in ("GET", "PUT", "DELETE", "OPTIONS"):
        answer = tools.ask(running.admin, f"/wasm/{action}", method=method)
        assert answer.status == 405, method
        assert answer.values("allow") == ["POST"]
        assert answer.json["error"]


def test_method_of_what_is_read(running: Any, tools: Any) -> None:
    for target in ("/wasm/list", "/metrics", "/healthz"):
        assert tools.ask(running.admin, target, method="POST").status == 405


def test_unknown_path(running: Any, tools: Any) -> None:
    for target in ("/", "/wasm", "/wasm/reinstall", "/docs"):
        answer = tools.ask(running.admin, target)
        assert answer.status == 404
        assert answer.json["error"]


def test_functions_are_not_served_there(running: Any, tools: Any) -> None:
    assert tools.ask(running.admin, "/", "hello").status == 404


def test_health(running: Any, tools: Any) -> None:
    assert tools.ask(running.admin, "/healthz").json == {"status": "ok"}
    assert tools.ask(running.admin, "/readyz").json == {"status": "ready"}


def test_host_that_fails(
    running: Any, tools: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def uninstall(name: str) -> None:
        raise ZeroDivisionError("a secret of the host")

    monkeypatch.setattr(running.server.manager, "uninstall", uninstall)
    answer = running.manage("uninstall", {"name": "hello"})
    assert answer.status == 500
    assert answer.json == {"error": "the host failed: ZeroDivisionError"}
    # It is logged after it was answered.
    tools.eventually(lambda: "a secret of the host" in caplog.text)
