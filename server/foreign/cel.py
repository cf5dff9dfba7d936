"""Expressions in Google's Common Expression Language, made and evaluated for guests."""

from __future__ import annotations

import importlib
import re
from typing import Any
from weakref import WeakKeyDictionary

from anywasm.abi.context import Context
from anywasm.abi.enums import LogLevel, Status
from anywasm.abi.foreign import RegisterForeignFunction, forget_foreign_functions
from anywasm.core.hooks import plugin_manager, register_plugin
from anywasm.core.hookspecs import hookimpl
from anywasm.server.foreign.attributes import attributes
from anywasm.server.foreign.values import encode_value

#: Bytes of an expression. The library parses recursively: a much longer one would overflow the
#: stack of its thread, which ends the process.
MAX_EXPRESSION = 4096
#: Macros that loop, in one expression: nobody can interrupt an evaluation, and each loop inside
#: another multiplies its time.
MAX_LOOPS = 2
#: Expressions that one plugin may hold.
MAX_EXPRESSIONS = 1024

#: The names of the functions.
CEL_FUNCTIONS = ("expr_create", "expr_evaluate", "expr_delete")

_LOOP = re.compile(r"\b(?:all|exists|exists_one|existsOne|filter|map)\b")
_HANDLE = 4
_PLUGIN_NAME = "anywasm-cel"


class _Expressions:
    """What one root context has made."""

    def __init__(self) -> None:
        self.programs: dict[int, Any] = {}
        self.next = 0


class CelFunctions:
    """`expr_create`, `expr_evaluate` and `expr_delete`, as Envoy's `foreign.cc` has them.

    Expressions belong to the root context that is current, and are counted from 0. Needs the
    library of the extra `cel`; without it well-formed calls answer NOT_FOUND, and the log says so
    once.
    Each guest is used by one thread at a time; different guests may call at once.
    """

    def __init__(self) -> None:
        self._expressions: WeakKeyDictionary[Context, _Expressions] = WeakKeyDictionary()
        self._told = False

    @hookimpl
    def register_foreign_functions(self, register: RegisterForeignFunction) -> None:
        """Offer the three functions to all profiles."""
        for name, function in zip(CEL_FUNCTIONS, (self.create, self.evaluate, self.delete)):
            register(name, function)

    def create(self, context: Context, arguments: bytes) -> bytes | Status:
        """Parse an expression, and answer its handle: a little-endian u32.

        What it names need not exist before it is evaluated. BAD_ARGUMENT where it does not parse,
        or is past the limits of this file; INTERNAL_FAILURE past `MAX_EXPRESSIONS`.
        """
        library = self._library(context)
        if library is None:
            return Status.NOT_FOUND
        try:
            program = _compile(library, arguments)
        except ValueError as error:
            context.log(LogLevel.INFO, f"expr_create: {error}")
            return Status.BAD_ARGUMENT
        held = self._held(context)
        if len(held.programs) >= MAX_EXPRESSIONS:
            context.log(LogLevel.WARN, f"expr_create: more than {MAX_EXPRESSIONS} expressions")
            return Status.INTERNAL_FAILURE
        handle, held.next = held.next, held.next + 1
        held.programs[handle] = program
        return handle.to_bytes(_HANDLE, "little")

    def evaluate(self, context: Context, arguments: bytes) -> bytes | Status:
        """The value of an expression in the context of the running call, serialized.

        BAD_ARGUMENT unless a handle is given, NOT_FOUND for an unknown one, INTERNAL_FAILURE when
        the evaluation fails, SERIALIZATION_FAILURE for a value that has no wire form.
        """
        if len(arguments) != _HANDLE:
            return Status.BAD_ARGUMENT
        if self._library(context) is None:
            return Status.NOT_FOUND
        program = self._held(context).programs.get(int.from_bytes(arguments, "little"))
        if program is None:
            return Status.NOT_FOUND
        try:
            value = _evaluate(program, _current(context))
        except ValueError as error:
            context.log(LogLevel.DEBUG, f"expr_evaluate: {error}")
            return Status.INTERNAL_FAILURE
        try:
            return encode_value(value)
        except (ValueError, RecursionError):
            return Status.SERIALIZATION_FAILURE

    def delete(self, context: Context, arguments: bytes) -> bytes | Status:
        """Forget an expression; OK for an unknown handle, BAD_ARGUMENT for none."""
        if len(arguments) != _HANDLE:
            return Status.BAD_ARGUMENT
        if self._library(context) is None:
            return Status.NOT_FOUND
        self._held(context).programs.pop(int.from_bytes(arguments, "little"), None)
        return b""

    def _held(self, context: Context) -> _Expressions:
        return self._expressions.setdefault(_current(context).root, _Expressions())

    def _library(self, context: Context) -> Any | None:
        try:
            # By name: there is none for CPython 3.10, where it could not be typed.
            return importlib.import_module("cel")
        except ImportError:
            if not self._told:
                self._told = True
                context.log(
                    LogLevel.WARN,
                    "CEL expressions need a library (CPython 3.11 or later): "
                    "pip install 'anywasm[cel]'",
                )
            return None


def offer_cel() -> None:
    """Offer the functions to all guests of the process; once is enough, more does no harm."""
    if plugin_manager().get_plugin(_PLUGIN_NAME) is None:
        register_plugin(CelFunctions(), _PLUGIN_NAME)
        forget_foreign_functions()


def _current(context: Context) -> Context:
    """The context that was called, whichever is effective: Envoy's expressions go by that one."""
    return context.guest.entered or context


def _compile(library: Any, expression: bytes) -> Any:
    """Raises: ValueError, with the reason."""
    if len(expression) > MAX_EXPRESSION:
        raise ValueError(f"longer than {MAX_EXPRESSION} bytes")
    text = expression.decode()
    if len(_LOOP.findall(text)) > MAX_LOOPS:
        raise ValueError(f"more than {MAX_LOOPS} of all, exists, exists_one, filter, map")
    try:
        return library.compile(text)
    except BaseException as error:
        raise _contained(error) from None


def _evaluate(program: Any, context: Context) -> object:
    """Raises: ValueError, with the reason."""
    variables = attributes(context, program.variables())
    try:
        result: object = program.execute(variables)
    except BaseException as error:
        raise _contained(error) from None
    return result


def _contained(error: BaseException) -> ValueError:
    """A failure of the library; its panics are no `Exception`, and have no name to catch."""
    if isinstance(error, Exception) or type(error).__name__ == "PanicException":
        return ValueError(f"{type(error).__name__}: {str(error)[:200]}")
    raise error
