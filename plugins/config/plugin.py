"""One WASM plugin."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from anywasm.plugins.config.model import Model, Name
from anywasm.plugins.config.units import Timeout
from anywasm.plugins.config.vm import GuestConfiguration, VmConfig

#: Bound on `instance_num`, so that a slip of the keyboard does not take the machine down.
MAX_INSTANCES = 4096


class TimeoutsConfig(Model):
    """How long a plugin may take."""

    call: Timeout = 1.0
    """One guest call while serving a request."""
    start: Timeout = 30.0
    """`_start`, `proxy_on_vm_start` and `proxy_on_configure`, each."""
    request: Timeout = 15.0
    """A whole request, pauses included; then 504."""
    lease: Timeout = 1.0
    """Waiting for a free instance; then 503."""


class PluginConfig(Model):
    """A module with the configuration it is started with."""

    name: Name
    """Unique; in messages, metrics and the management API. Not what requests are routed by."""
    vm_config: VmConfig
    """Module and engine."""
    instance_num: Annotated[int, Field(strict=True, ge=1, le=MAX_INSTANCES)] = 1
    """Instances, so guest calls that can run at once."""
    root_id: str = ""
    """Which of the module's root contexts serves."""
    configuration: GuestConfiguration = b""
    """What the guest reads in `proxy_on_configure`: text, or any value, sent as JSON."""
    execution: Literal["inline", "thread"] | None = None
    """Where guest calls run; by default `thread` for modules whose imports may block."""
    timeouts: TimeoutsConfig = TimeoutsConfig()
    """How long it may take."""
