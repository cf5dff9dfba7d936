"""The two functions of the quickstart as Python guests: `sdk/c/examples/function_*.c`, no wasm.

They answer the same to the same requests, so that the `null` engine can serve the quickstart and
shows what everything around WebAssembly costs.
"""

from __future__ import annotations

from typing import ClassVar
from urllib.parse import unquote_to_bytes

from anywasm.abi.enums import Action, BufferType, LogLevel
from anywasm.abi.pairs import decode_pairs
from anywasm.core.errors import AbiError
from anywasm.engines.null.library import export, register_guest
from anywasm.testing.null_filter import HostCallError, NullFilter

_JSON = ((b"content-type", b"application/json"),)


def _form_get(form: bytes, key: bytes) -> bytes | None:
    """The first value of `key` in a query string or form body."""
    for field in form.split(b"&"):
        name, _, value = field.replace(b"+", b" ").partition(b"=")
        if unquote_to_bytes(name) == key:
            return unquote_to_bytes(value)
    return None


class _Function(NullFilter):
    """What both have in common: an id, and one answer when the whole request is there."""

    id: str
    missing: str
    host_functions: ClassVar[tuple[str, ...]] = (
        "proxy_log",
        "proxy_get_buffer_bytes",
        "proxy_set_buffer_bytes",
        "proxy_send_local_response",
    )

    @export("->")
    def proxy_get_id(self) -> None:
        """Tell the id, as Layotto asks for it."""
        self.replace_buffer(BufferType.FOREIGN_FUNCTION_ARGUMENTS, self.id.encode())

    @export("i32 i32 i32 -> i32")
    def proxy_on_request_headers(self, context: int, count: int, end_of_stream: int) -> int:
        """Wait for the body; a request without one lacks what is needed."""
        return self.refuse(400, self.missing) if end_of_stream else Action.CONTINUE

    @export("i32 i32 i32 -> i32")
    def proxy_on_request_body(self, context: int, size: int, end_of_stream: int) -> int:
        """Let the host buffer the body until it is there as a whole."""
        return self._handle() if end_of_stream else Action.PAUSE

    @export("i32 i32 -> i32")
    def proxy_on_request_trailers(self, context: int, count: int) -> int:
        """Where trailers follow, they and not the body end the request."""
        return self._handle()

    def _handle(self) -> Action:
        try:
            return self.answer(self.buffer(BufferType.HTTP_REQUEST_BODY))
        except HostCallError as error:
            self.log(LogLevel.ERROR, str(error))
            return self.refuse(500, f"function {self.id} failed")

    def answer(self, body: bytes) -> Action:
        """Answer the request."""
        raise NotImplementedError

    def refuse(self, status: int, error: str) -> Action:
        """Answer with an error."""
        return self.respond(status, _JSON, b'{"error":"%s"}' % error.encode())


class Function1(_Function):
    """Function id_1: how many inventories function id_2 finds for the `name` of the request."""

    id = "id_1"
    missing = "parameter 'name' is missing: send ?name=NAME or a form body name=NAME"
    host_functions = (*_Function.host_functions, "proxy_invoke_service")

    def answer(self, body: bytes) -> Action:
        """Ask id_2, and put its answer into words."""
        name = _form_get(body, b"name")
        if not name:
            return self.refuse(400, self.missing)
        try:
            count = self.call("proxy_invoke_service", b"id_2", b"", name)
        except HostCallError as error:
            self.log(LogLevel.ERROR, f"invoking function id_2 failed with status {error.status}")
            return self.refuse(502, "function id_2, called by id_1, failed")
        text = b"There are %s inventories for %s." % (count, name)
        self.replace_buffer(BufferType.HTTP_RESPONSE_BODY, text)
        return Action.CONTINUE


class Function2(_Function):
    """Function id_2: the value that a state store holds for the key in the request body."""

    id = "id_2"
    missing = "the key is missing: send it as the request body"
    host_functions = (*_Function.host_functions, "proxy_get_state")
    store = b"state_demo"

    @export("i32 i32 -> i32")
    def proxy_on_configure(self, context: int, size: int) -> int:
        """Take the store's name from `store=NAME`, or from a pairs-encoded map with that key."""
        configuration = self.buffer(BufferType.PLUGIN_CONFIGURATION) if size else b""
        try:
            name = dict(reversed(decode_pairs(configuration))).get(b"store")
        except AbiError:
            name = _form_get(configuration, b"store")
        if name is None:
            return True
        name = name.rstrip(bytes(range(ord(" ") + 1)))
        if not name:
            self.log(LogLevel.ERROR, "configuration: the value of 'store' is empty")
            return False
        self.store = name
        return True

    def answer(self, body: bytes) -> Action:
        """Read the key; one that the store lacks is an empty answer."""
        if not body:
            return self.refuse(400, self.missing)
        try:
            value = self.call("proxy_get_state", self.store, body)
        except HostCallError as error:
            self.log(LogLevel.ERROR, f"reading the state store failed with status {error.status}")
            return self.refuse(502, "the state store of id_2 failed")
        self.replace_buffer(BufferType.HTTP_RESPONSE_BODY, value)
        return Action.CONTINUE


#: What stands for each function's binary.
GUESTS = {"function_1": Function1, "function_2": Function2}


def register_quickstart() -> None:
    """Let the `null` engine find both functions, as `function_1` and `function_2`. Idempotent.

    A module file for it holds just that name, without a newline.
    """
    for name, guest in GUESTS.items():
        register_guest(name, guest)
