"""Requests to functions, over real sockets, on every engine that runs WebAssembly."""

from __future__ import annotations

import json
from typing import Any

from anywasm.abi.pairs import encode_pairs


def test_quickstart(serving: Any, tools: Any, engine: str) -> None:
    running = serving(tools.quickstart(engine), state_stores=tools.MEMORY)
    answer = running.ask("/?name=book1", "id_1")
    assert (answer.status, answer.body) == (200, b"There are 100 inventories for book1.")
    assert answer.values("content-type") == ["text/plain; charset=utf-8"]
    assert running.ask(id="id_2", body=b"book1").body == b"100"


def test_body_takes_precedence_over_the_query(serving: Any, tools: Any) -> None:
    running = serving(tools.quickstart("wasmtime"), state_stores=tools.MEMORY)
    answer = running.ask("/?name=other", "id_1", body=b"name=book1")
    assert answer.body == b"There are 100 inventories for book1."


def test_query_is_the_body_of_a_request_without_one(serving: Any, guest: Any, engine: str) -> None:
    plugin = guest.plugin("echo", "(i32.const 0)", engine, body=guest.echoes)
    running = serving([plugin])
    assert running.ask("/a?b=%20c&d", "echo").body == b"b=%20c&d"
    assert running.ask("/a?b?c", "echo", method="PUT").body == b"b?c"
    assert running.ask("http://host/a?b", "echo", body=b"").body == b"b"


def test_body_as_long_as_is_allowed(serving: Any, guest: Any, engine: str) -> None:
    listener = {"name": "main", "address": "127.0.0.1:0", "limits": {"max_body_bytes": 32768}}
    plugin = guest.plugin("echo", "(i32.const 0)", engine, body=guest.echoes)
    running = serving([plugin], listeners=[listener])
    body = bytes(range(256)) * 128
    assert running.ask(id="echo", body=body).body == body
    answer = running.ask(id="echo", body=body + b"x")
    assert answer.status == 413
    assert "32768" in answer.json["error"]


def test_chunked_body_past_the_limit(serving: Any, guest: Any, tools: Any) -> None:
    listener = {"name": "main", "address": "127.0.0.1:0", "limits": {"max_body_bytes": 10}}
    running = serving([guest.plugin("echo", guest.answers("x"))], listeners=[listener])
    client = tools.Client(running.place())
    chunks = b"6\r\nabcdef\r\n" * 2 + b"0\r\n\r\n"
    request = b"POST / HTTP/1.1\r\nhost: a\r\nid: echo\r\ntransfer-encoding: chunked\r\n\r\n"
    assert client.raw(request + chunks).status == 413
    client.close()


def test_trailers_end_a_request(serving: Any, tools: Any, engine: str) -> None:
    running = serving(tools.quickstart(engine), state_stores=tools.MEMORY)
    client = tools.Client(running.place())
    answer = client.raw(
        b"POST / HTTP/1.1\r\nhost: a\r\nid: id_1\r\ntransfer-encoding: chunked\r\n\r\n"
        b"a\r\nname=book1\r\n0\r\nchecksum: 1\r\n\r\n"
    )
    assert answer.body == b"There are 100 inventories for book1."
    client.close()


def test_function_sees_the_request_as_headers(serving: Any, guest: Any) -> None:
    extra = """(import "env" "proxy_get_header_map_value"
        (func $header (param i32 i32 i32 i32 i32) (result i32)))"""
    names = [":method", ":path", ":authority", ":scheme", "x-twice", "id"]
    plugins = []
    for name in names:
        # Imports come first in a module, so this guest is written whole.
        path = guest.source(
            f"""(module {extra}
            (import "env" "proxy_set_buffer_bytes"
              (func $set (param i32 i32 i32 i32 i32) (result i32)))
            (memory (export "memory") 1)
            (data (i32.const 64) "{name}")
            (func (export "proxy_abi_version_0_2_1"))
            (func (export "malloc") (param i32) (result i32) (i32.const 1024))
            (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
              (drop (call $header (i32.const 0) (i32.const 64) (i32.const {len(name)})
                (i32.const 16) (i32.const 20)))
              (drop (call $set (i32.const 1) (i32.const 0) (i32.const 0)
                (i32.load (i32.const 16)) (i32.load (i32.const 20))))
              (i32.const 0)))"""
        )
        plugins.append({"name": f"show{name.strip(':')}", "vm_config": {"path": str(path)}})
    running = serving(plugins)

    def show(name: str) -> bytes:
        headers = {"Host": "shop.example:81", "X-Twice": "A b"}
        answer = running.ask("/p/q?r=s", f"show{name}", method="PATCH", headers=headers)
        assert isinstance(answer.body, bytes)
        return answer.body

    assert show("method") == b"PATCH"
    assert show("path") == b"/p/q?r=s"
    assert show("authority") == b"shop.example:81"
    assert show("scheme") == b"http"
    assert show("x-twice") == b"A b"
    assert show("id") == b"showid"


def test_plugin_without_an_id_of_its_own_is_called_by_name(serving: Any, guest: Any) -> None:
    path = guest.source(
        """(module
        (import "env" "proxy_set_buffer_bytes"
          (func $set (param i32 i32 i32 i32 i32) (result i32)))
        (memory (export "memory") 1)
        (data (i32.const 64) "named")
        (func (export "proxy_abi_version_0_2_0"))
        (func (export "malloc") (param i32) (result i32) (i32.const 1024))
        (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
          (call $set (i32.const 1) (i32.const 0) (i32.const 0) (i32.const 64) (i32.const 5))))"""
    )
    running = serving([{"name": "only-a-name", "vm_config": {"path": str(path)}}])
    assert running.ask(id="only-a-name").body == b"named"


def test_answer_with_status_and_headers_of_its_own(serving: Any, guest: Any, engine: str) -> None:
    headers = encode_pairs([(b"content-type", b"text/tea"), (b"x-a", b"1"), (b"x-a", b"2")])
    running = serving([guest.plugin("pot", guest.responds(418, headers, "short"), engine)])
    answer = running.ask(id="pot")
    assert (answer.status, answer.body) == (418, b"short")
    assert answer.values("content-type") == ["text/tea"]
    assert answer.values("x-a") == ["1", "2"]


def test_answer_without_a_body_says_so(serving: Any, guest: Any) -> None:
    running = serving([guest.plugin("empty", guest.answers(""))])
    answer = running.ask(id="empty")
    assert (answer.status, answer.body) == (204, b"")


def test_head_is_answered_without_the_body(serving: Any, guest: Any, tools: Any) -> None:
    running = serving([guest.plugin("hello", guest.answers("hello"))])
    client = tools.Client(running.place())
    answer = client.ask(id="hello", method="HEAD")
    assert (answer.status, answer.body, answer.values("content-length")) == (200, b"", ["5"])
    assert client.ask(id="hello").body == b"hello"
    client.close()


def test_connection_is_kept(serving: Any, guest: Any, tools: Any) -> None:
    running = serving([guest.plugin("hello", guest.answers("hello"))])
    client = tools.Client(running.place())
    for _ in range(3):
        assert client.ask(id="hello").body == b"hello"
        assert client.ask(id="nobody").status == 404
        assert client.ask().status == 400
    client.close()


def test_length_that_a_function_claims_is_corrected(serving: Any, guest: Any) -> None:
    # The connection would be cut: what came before it on the way to the client is lost, too.
    headers = encode_pairs([(b"content-length", b"99"), (b"x-kept", b"yes")])
    running = serving([guest.plugin("liar", guest.responds(200, headers, "four"))])
    answer = running.ask(id="liar")
    assert (answer.status, answer.body) == (200, b"four")
    assert answer.values("content-length") == ["4"]
    assert answer.values("x-kept") == ["yes"]


def test_id_is_utf8(serving: Any, guest: Any) -> None:
    running = serving([guest.plugin("küche", guest.answers("warm"))])
    assert running.ask(id="küche".encode().decode("latin-1")).body == b"warm"
    assert running.ask(id="küche").status == 404
    assert "xfc" in running.ask(id="küche").json["error"]


def test_several_ids_in_a_request(serving: Any, guest: Any, tools: Any) -> None:
    running = serving([guest.plugin("hello", guest.answers("hello"))])
    client = tools.Client(running.place())
    request = b"GET / HTTP/1.1\r\nhost: a\r\nID: hello\r\nid: nobody\r\n\r\n"
    assert client.raw(request).body == b"hello"
    client.close()


def test_plugins_of_one_id_take_turns(serving: Any, guest: Any) -> None:
    plugins = [guest.plugin("same", guest.answers(text)) for text in ("one", "two")]
    plugins[0]["name"] = "first"
    running = serving(plugins)
    answers = [running.ask(id="same").body for _ in range(4)]
    assert sorted(answers[:2]) == sorted(answers[2:]) == [b"one", b"two"]


def test_listener_with_a_subset_of_the_plugins(serving: Any, guest: Any) -> None:
    plugins = [guest.plugin(name, guest.answers(name)) for name in ("a", "b", "c")]
    listeners = [
        {"name": "main", "address": "127.0.0.1:0"},
        {"name": "part", "address": "127.0.0.1:0", "plugins": ["b", "c"]},
    ]
    running = serving(plugins, listeners=listeners)
    ask = running.ask_at
    assert [ask("main", id=name).status for name in "abc"] == [200, 200, 200]
    assert [ask("part", id=name).status for name in "abc"] == [404, 200, 200]
    assert ask("part", id="b").body == b"b"


def test_function_outside_the_subset_is_called_by_others(serving: Any, tools: Any) -> None:
    listeners = [{"name": "main", "address": "127.0.0.1:0", "plugins": ["function_1"]}]
    running = serving(tools.quickstart("wasmtime"), listeners=listeners, state_stores=tools.MEMORY)
    assert running.ask("/?name=book1", "id_1").body == b"There are 100 inventories for book1."
    assert running.ask("/?book1", "id_2").status == 404


def test_configuration_reaches_the_function(serving: Any, tools: Any, engine: str) -> None:
    plugins = tools.quickstart(engine)
    plugins[1]["plugin_config"] = "store=other"
    stores = {"other": {"type": "memory", "data": {"book1": "7"}}}
    running = serving(plugins, state_stores=stores)
    assert running.ask("/?book1", "id_2").body == b"7"


def test_unix_socket(serving: Any, guest: Any, tmp_path: Any) -> None:
    address = f"unix:{tmp_path / 'functions.sock'}"
    running = serving(
        [guest.plugin("hello", guest.answers("hello"))],
        listeners=[{"name": "main", "address": address}],
    )
    assert running.place() == str(tmp_path / "functions.sock")
    assert running.ask(id="hello").body == b"hello"
    running.stop()
    assert not (tmp_path / "functions.sock").exists()


def test_answer_of_a_refusal_is_json(serving: Any) -> None:
    answer = serving().ask()
    assert answer.status == 400
    assert json.loads(answer.body).keys() == {"error", "phase"}
