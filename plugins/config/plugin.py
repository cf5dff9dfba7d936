"""One WASM plugin."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, model_validator

from anywasm.plugins.config.capabilities import Capabilities
from anywasm.plugins.config.model import CrossCheckError, Model, Name, Switch
from anywasm.plugins.config.units import Size, Timeout
from anywasm.plugins.config.vm import GuestConfiguration, VmConfig

#: Bound on `instance_num`, so that a slip of the keyboard does not take the machine down.
MAX_INSTANCES = 4096


#: Envoy's spellings. It calls its default, which is to fail closed, UNSPECIFIED.
_ENVOY_POLICIES = {
    "FAIL_RELOAD": "fail_reload",
    "FAIL_CLOSED": "fail_closed",
    "FAIL_OPEN": "fail_open",
    "UNSPECIFIED": "fail_closed",
}


def _policy(value: object) -> object:
    return _ENVOY_POLICIES.get(value, value) if isinstance(value, str) else value


#: What happens after a guest has trapped.
FailurePolicy = Annotated[
    Literal["fail_reload", "fail_closed", "fail_open"], BeforeValidator(_policy)
]


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


class ReloadBackoffConfig(Model):
    """How long after a failure a new instance is made: longer each time it fails again."""

    base: Timeout = 1.0
    """After the first failure."""
    max: Timeout = 30.0
    """At most."""

    @model_validator(mode="after")
    def _ordered(self) -> ReloadBackoffConfig:
        if self.base > self.max:
            raise CrossCheckError([(("base",), f"must not be longer than max ({self.max:g} s)")])
        return self


class PluginConfig(Model):
    """A module with the configuration it is started with."""

    name: Name
    """Unique; in messages, metrics and the management API. Not what requests are routed by."""
    vm_config: VmConfig
    """Module and engine."""
    instance_num: Annotated[int, Field(strict=True, ge=1, le=MAX_INSTANCES)] = 1
    """Instances, so guest calls that can run at once."""
    instance_start: Literal["ahead", "on_demand"] = "ahead"
    """Whether a function's instances are all made at once, or each when it is first needed."""
    root_id: str = ""
    """Which of the module's root contexts serves."""
    plugin_config: GuestConfiguration = b""
    """What the guest reads in `proxy_on_configure`: text, or any value, sent as JSON."""
    execution: Literal["inline", "thread"] | None = None
    """Where guest calls run; by default `thread` for modules whose imports may block."""
    timeouts: TimeoutsConfig = TimeoutsConfig()
    """How long it may take."""
    failure_policy: FailurePolicy = "fail_reload"
    """After a trap: a new instance, 503 until the plugin is reloaded, or no such filter."""
    reload_backoff: ReloadBackoffConfig = ReloadBackoffConfig()
    """With `fail_reload`, how soon a new instance is made."""
    capabilities: Capabilities | None = None
    """The only host functions, callbacks and WASI functions it may use; by default all."""
    profile: Literal["envoy", "higress"] | None = None
    """Whose extras it finds; by default its ABI decides: `higress` for 0.2.100, else `envoy`."""
    allow_on_headers_stop_iteration: Switch | None = None
    """Whether the body comes while headers are paused; by default only with profile `higress`."""
    max_memory_bytes: Size | None = None
    """What one instance may grow to; by default what its module and its engine allow."""
