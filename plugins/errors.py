"""What can go wrong with a plugin, each with the HTTP status that a function's caller gets."""

from __future__ import annotations

from collections.abc import Callable

from anywasm.core.errors import PluginError


class PluginLoadError(PluginError):
    """The module could not be read, is not what was pinned, or does not compile."""


class ModuleLimitError(PluginLoadError):
    """Compiling the module took more time or memory than it may.

    Attributes:
        key: Of the configuration, under `vm_config`: what to raise.
    """

    def __init__(self, message: str, key: str) -> None:
        self.key = key
        super().__init__(message)


class PluginStartError(PluginError):
    """The module was loaded but its guest could not be started and configured.

    Attributes:
        phase: The callback that failed, or None where none had been called.
    """

    def __init__(self, message: str, phase: str | None = None) -> None:
        self.phase = phase
        super().__init__(message)


class PluginNotFoundError(PluginError):
    """No plugin of that name is installed."""

    def __init__(self, name: str, known: tuple[str, ...] = ()) -> None:
        self.name = name
        listed = ", ".join(known) or "none"
        super().__init__(f"no plugin named {name!r} is installed; installed: {listed}")


class PluginExistsError(PluginError):
    """A plugin of that name, or function id, is installed already."""


class SameConfigError(PluginError):
    """An update changes nothing: same configuration, same module."""


class PoolClosedError(PluginError):
    """The plugin was replaced or removed between the choice and the call; choose again."""


class FilterFailedError(PluginError):
    """A filter has no working instance, and its failure policy lets nothing pass."""


class FilterStartingError(FilterFailedError):
    """A filter has no working instance yet: one is being started in another thread.

    Attributes:
        wait: Has a job run once that has ended, well or not; in that other thread, or at once.
        patience: Seconds for which it is worth waiting.
    """

    def __init__(
        self, message: str, wait: Callable[[Callable[[], None]], None], patience: float
    ) -> None:
        self.wait = wait
        self.patience = patience
        super().__init__(message)


class FunctionError(PluginError):
    """A function could not answer. Subclasses differ in the status for the client.

    Attributes:
        status: The HTTP status.
        plugin: The plugin's name, or None when none was chosen.
        phase: What was going on, in the ABI's words.
    """

    status = 500

    def __init__(self, message: str, plugin: str | None = None, phase: str | None = None) -> None:
        self.plugin = plugin
        self.phase = phase
        super().__init__(message)


class FunctionFailedError(FunctionError):
    """The guest trapped, refused, or gave no usable answer."""


class FunctionNotFoundError(FunctionError):
    """No function has that id."""

    status = 404


class FunctionBusyError(FunctionError):
    """No instance became free in time."""

    status = 503


class FunctionTimeoutError(FunctionError):
    """The function took too long, or paused and nobody resumed it."""

    status = 504


class FunctionRecursionError(FunctionError):
    """A function called itself, directly or through others, or the chain got too long."""
