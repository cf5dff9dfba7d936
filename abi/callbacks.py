"""The functions that a guest exports for its host, bound once by the type they really have."""

from __future__ import annotations

from collections.abc import Callable, Generator
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
    "proxy_on_tick": 1,
    "proxy_on_queue_ready": 2,
    "proxy_on_http_call_response": 5,
    "proxy_on_grpc_receive_initial_metadata": 3,
    "proxy_on_grpc_receive": 3,
    "proxy_on_grpc_receive_trailing_metadata": 3,
    "proxy_on_grpc_close": 3,
    "proxy_on_foreign_function": 3,
    #: Higress.
    "proxy_on_redis_call_response": 4,
    "proxy_on_done": 1,
    "proxy_on_log": 1,
    "proxy_on_delete": 1,
    #: Layotto: the function tells its id through buffer 8.
    "proxy_get_id": 0,
}

_ANSWER = (ValueType.I32,)
#: Callbacks whose answer counts. The others may return anything.
_ANSWERS = frozenset(
    {
        "proxy_on_vm_start",
        "proxy_on_configure",
        "proxy_on_request_headers",
        "proxy_on_request_body",
        "proxy_on_request_trailers",
        "proxy_on_response_headers",
        "proxy_on_response_body",
        "proxy_on_response_trailers",
        "proxy_on_done",
    }
)

#: ABI 0.1.0 has header callbacks without end_of_stream, and modules mark versions loosely: the
#: export's own type decides, never the version.
_SHORTER = {"proxy_on_request_headers": 2, "proxy_on_response_headers": 2}


#: Those for headers, body and trailers; None for each that is not exported.
HttpCallbacks = tuple[
    Callable[..., Any] | None, Callable[..., Any] | None, Callable[..., Any] | None
]


class Callbacks:
    """The guest's callbacks as attributes without their `proxy_` prefix; None where not exported.

    Attributes:
        on_context_create: And so on, each taking the callback's full parameter list.
        request: Those for a request's headers, body and trailers.
        response: Those for a response's.
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
    on_tick: Callable[..., Any] | None
    on_queue_ready: Callable[..., Any] | None
    on_http_call_response: Callable[..., Any] | None
    on_grpc_receive_initial_metadata: Callable[..., Any] | None
    on_grpc_receive: Callable[..., Any] | None
    on_grpc_receive_trailing_metadata: Callable[..., Any] | None
    on_grpc_close: Callable[..., Any] | None
    on_foreign_function: Callable[..., Any] | None
    on_redis_call_response: Callable[..., Any] | None
    on_done: Callable[..., Any] | None
    on_log: Callable[..., Any] | None
    on_delete: Callable[..., Any] | None
    get_id: Callable[..., Any] | None
    request: HttpCallbacks
    response: HttpCallbacks

    def __init__(self, instance: Instance, allowed: frozenset[str] | None = None) -> None:
        self._instance = instance
        self._promising: dict[str, Callable[..., Generator[Any, Any, Any]]] = {}
        for name, arity in CALLBACKS.items():
            # A callback outside the plugin's capabilities is as if it were not exported.
            offered = allowed is None or name in allowed
            function = _bind(instance, name, arity) if offered else None
            setattr(self, name.removeprefix("proxy_"), function)
        self.request = (self.on_request_headers, self.on_request_body, self.on_request_trailers)
        self.response = (self.on_response_headers, self.on_response_body, self.on_response_trailers)

    def promising(self, name: str) -> Callable[..., Generator[Any, Any, Any]]:
        """The callback `name`, which the guest exports, for a call that may be suspended."""
        try:
            return self._promising[name]
        except KeyError:
            pass
        export = f"proxy_{name}"
        function = self._instance.promising(export)
        found = _function_type(self._instance, export)
        assert found is not None
        if len(found.params) == _SHORTER.get(export):
            longer = function

            def function(context: int, count: int, _end_of_stream: int) -> Any:
                return longer(context, count)

        self._promising[name] = function
        return function

    def name(self, function: Callable[..., Any]) -> str | None:
        """The name of a bound callback, or None for any other function."""
        names = (f"proxy_{name}" for name, bound in vars(self).items() if bound is function)
        return next(names, None)


def bind_export(
    instance: Instance, name: str, arity: int, *, answers: bool = False
) -> Callable[..., Any] | None:
    """The exported function `name`, or None where the guest exports none.

    Args:
        instance: The guest's instance.
        name: The export.
        arity: How many parameters it has, all of them i32.
        answers: Whether it must return one i32.

    Raises:
        AbiError: When it has another type.
    """
    found = _function_type(instance, name)
    if found is None:
        return None
    params = (ValueType.I32,) * arity
    if found.params != params or (answers and found.results != _ANSWER):
        wanted = FuncType(params, _ANSWER if answers else ())
        raise AbiError(f"the guest exports {name} as {found} instead of {wanted}")
    function: Callable[..., Any] = instance.exports[name]
    return function


def _bind(instance: Instance, name: str, arity: int) -> Callable[..., Any] | None:
    answers = name in _ANSWERS
    found = _function_type(instance, name)
    if found is not None and len(found.params) == _SHORTER.get(name):
        function = bind_export(instance, name, len(found.params), answers=answers)
        assert function is not None
        return lambda context, count, _end_of_stream: function(context, count)
    return bind_export(instance, name, arity, answers=answers)


def _function_type(instance: Instance, name: str) -> FuncType | None:
    export = instance.module.exports_by_name.get(name)
    return None if export is None or not isinstance(export.type, FuncType) else export.type
