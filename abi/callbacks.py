"""The functions that a guest exports for its host, bound once by the type they really have."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from anywasm.core.errors import AbiError
from anywasm.core.instance import Instance
from anywasm.core.types import FuncType, ValueType

#: Parameter count of every callback (proxy-wasm spec 0.2.1, "Callbacks"), all of them i32.
CALLBACKS = {
    "proxy_on_context_create": 2,
    "proxy_on_vm_start": 2,
    "proxy_on_configure": 2,
    "proxy_on_request_headers": 3,
    "proxy_on_request_body": 3,
    "proxy_on_request_trailers": 2,
    "proxy_on_response_headers": 3,
    "proxy_on_response_body": 3,
    "proxy_on_response_trailers": 2,
    "proxy_on_done": 1,
    "proxy_on_log": 1,
    "proxy_on_delete": 1,
    #: Layotto: the function tells its id through buffer 8.
    "proxy_get_id": 0,
}

#: ABI 0.1.0 has header callbacks without end_of_stream, and modules mark versions loosely: the
#: export's own type decides, never the version.
_SHORTER = {"proxy_on_request_headers": 2, "proxy_on_response_headers": 2}


class Callbacks:
    """The guest's callbacks as attributes without their `proxy_` prefix; None where not exported.

    Attributes:
        on_context_create: And so on, each taking the callback's full parameter list.
    """

    on_context_create: Callable[..., Any] | None
    on_vm_start: Callable[..., Any] | None
    on_configure: Callable[..., Any] | None
    on_request_headers: Callable[..., Any] | None
    on_request_body: Callable[..., Any] | None
    on_request_trailers: Callable[..., Any] | None
    on_response_headers: Callable[..., Any] | None
    on_response_body: Callable[..., Any] | None
    on_response_trailers: Callable[..., Any] | None
    on_done: Callable[..., Any] | None
    on_log: Callable[..., Any] | None
    on_delete: Callable[..., Any] | None
    get_id: Callable[..., Any] | None

    def __init__(self, instance: Instance) -> None:
        for name, arity in CALLBACKS.items():
            setattr(self, name.removeprefix("proxy_"), _bind(instance, name, arity))


def _bind(instance: Instance, name: str, arity: int) -> Callable[..., Any] | None:
    export = instance.module.exports_by_name.get(name)
    if export is None or not isinstance(export.type, FuncType):
        return None
    params = export.type.params
    if any(value is not ValueType.I32 for value in params):
        raise AbiError(f"the guest exports {name} with an unknown type: {export.type}")
    function: Callable[..., Any] = instance.exports[name]
    if len(params) == arity:
        return function
    if len(params) == _SHORTER.get(name):
        return lambda context, count, _end_of_stream: function(context, count)
    raise AbiError(f"the guest exports {name} with {len(params)} parameters instead of {arity}")
