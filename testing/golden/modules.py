"""Tries published third-party modules on every engine, and writes the table of what came of it.

Run it as `python -m anywasm.testing.golden.modules --wheels DIR`, where DIR holds the unpacked
wheels of the releases named below.
"""

from __future__ import annotations

import argparse
import logging
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from anywasm.core.errors import AnyWasmError
from anywasm.core.registry import engine_statuses, get_wasm_engine
from anywasm.core.vm import VM
from anywasm.testing.golden.case import Case, Request
from anywasm.testing.golden.client import ask
from anywasm.testing.golden.guest_lines import GuestLines
from anywasm.testing.golden.guests import GuestFinder, GuestNotFoundError
from anywasm.testing.golden.host import ECHO_PORT, DeadPort, Host, host_config
from anywasm.testing.golden.upstream import EchoUpstream

PACKAGE = "gpustack-higress-plugins"
#: Releases whose content differs; together they have every module below.
RELEASES = ("0.5.1", "0.2.0", "0.3.0")

_FOLDER = "gpustack_higress_plugins/plugins"
_CHAT = '{"model":"m1","messages":[{"role":"user","content":"hi"}]}'
_REQUEST = Request(
    method="POST",
    path="/v1/chat/completions",
    headers=(("content-type", "application/json"), ("authorization", "Bearer key")),
    body=_CHAT,
    timeout=10,
)


@dataclass(frozen=True, slots=True)
class ThirdPartyModule:
    """One module with the least configuration that it serves with.

    Attributes:
        name: Its name and version.
        release: The release that has it.
        config: Its plugin configuration.
        services: Names of clusters that it asks; the echo server answers for each.
    """

    name: str
    release: str
    config: Any
    services: tuple[str, ...] = ()

    @property
    def case(self) -> Case:
        """How it is found and started."""
        return Case(
            id=self.name,
            package=f"{PACKAGE}=={self.release}",
            wasm=f"{_FOLDER}/{self.name}/plugin.wasm",
            plugin_config=self.config,
            services=tuple((name, ECHO_PORT) for name in self.services),
        )


_AUTH = "auth.static"
_REDIS = "redis.static"
_PROVIDER = {"id": "p", "type": "openai", "apiTokens": ["t"], "openaiCustomUrl": "http://up/v1"}

MODULES = (
    ThirdPartyModule(
        "transformer/2.0.0",
        "0.5.1",
        {"reqRules": [{"operate": "add", "headers": [{"key": "x-added", "value": "1"}]}]},
    ),
    ThirdPartyModule(
        "gpustack-ip-acl/0.1.0", "0.5.1", {"consumers": {"a": {"allowedCidrs": ["127.0.0.1/32"]}}}
    ),
    ThirdPartyModule(
        "gpustack-set-header-pre-route/1.0.1",
        "0.5.1",
        {"routeNameHeader": "x-route", "clusterNameHeader": "x-cluster"},
    ),
    ThirdPartyModule(
        "gpustack-generic-proxy-router/1.0.1", "0.5.1", {"modelToHeader": "x-higress-llm-model"}
    ),
    ThirdPartyModule("gpustack-ext-auth/0.1.3", "0.5.1", {}),
    ThirdPartyModule("gpustack-token-usage/1.2.2", "0.5.1", {}),
    ThirdPartyModule("ai-statistics/2.0.0", "0.5.1", {"attributes": []}),
    ThirdPartyModule(
        "gpustack-ai-proxy/2.0.3-patched",
        "0.5.1",
        {"providers": [_PROVIDER], "activeProviderId": "p"},
    ),
    ThirdPartyModule("gpustack-lb-decision-service/0.2.1", "0.5.1", {}),
    ThirdPartyModule("gpustack-lb-least-load/0.1.0", "0.5.1", {}),
    ThirdPartyModule(
        "gpustack-lb-session-affinity/0.1.0", "0.5.1", {"sessionKeys": [{"header": "x-session"}]}
    ),
    ThirdPartyModule("gpustack-lb/0.1.2", "0.5.1", {}),
    ThirdPartyModule("gpustack-rate-limit/1.0.1", "0.5.1", {}),
    ThirdPartyModule(
        "ai-data-masking/2.0.3", "0.5.1", {"deny_words": ["forbidden"], "deny_openai": True}
    ),
    ThirdPartyModule(
        "model-mapper/2.0.0", "0.2.0", {"modelKey": "model", "modelMapping": {"*": "mapped"}}
    ),
    ThirdPartyModule(
        "model-router/2.0.0",
        "0.2.0",
        {"modelKey": "model", "addProviderHeader": "x-provider", "modelToHeader": "x-model"},
    ),
    ThirdPartyModule(
        "ext-auth/2.0.0",
        "0.2.0",
        {
            "http_service": {
                "endpoint_mode": "envoy",
                "endpoint": {
                    "service_name": _AUTH,
                    "service_port": 80,
                    "path_prefix": "/auth-allow",
                },
                "timeout": 1000,
            }
        },
        (f"outbound|80||{_AUTH}",),
    ),
    ThirdPartyModule(
        "gpustack-model-mapper/1.0.1",
        "0.3.0",
        {"modelKey": "model", "modelMapping": {"*": "mapped"}},
    ),
)


@dataclass(frozen=True, slots=True)
class Trial:
    """What came of a module on an engine.

    Attributes:
        outcome: `serves`, or how far it came.
        good: Whether it serves.
        seconds: From nothing to being configured.
    """

    outcome: str
    good: bool
    seconds: float = 0.0


def try_module(module: ThirdPartyModule, guests: GuestFinder, vm: VM) -> Trial:
    """Load, configure and ask a module, under the profile that its ABI asks for."""
    case = module.case
    try:
        wasm = guests.find(case, Path())
    except GuestNotFoundError as error:
        return Trial(str(error), False)
    with EchoUpstream() as upstream, DeadPort() as dead, GuestLines() as lines, ExitStack() as run:
        config = host_config(case, wasm, vm.name, upstream.port, dead.port, profile=None)
        began = time.monotonic()
        try:
            host = run.enter_context(Host(config))
        except AnyWasmError as error:
            said = "; ".join(line.msg for line in lines.take())
            return Trial(f"refused: {error}" + (f" ({said})" if said else ""), False)
        seconds = time.monotonic() - began
        answer = ask(host.port, _REQUEST)
        if answer.status == 200:
            return Trial("serves", True, seconds)
        said = "; ".join(line.msg for line in lines.take())
        return Trial(f"answers {answer.status or answer.error}: {said}", False, seconds)


def markdown(
    engines: Sequence[str], rows: Iterable[tuple[ThirdPartyModule, Sequence[Trial]]]
) -> Iterator[str]:
    """The table of docs/conformance.md."""
    yield "| module | release | " + " | ".join(engines) + " |"
    yield "|---|---|" + "---|" * len(engines)
    for module, trials in rows:
        cells = (
            f"serves, ready in {trial.seconds:.1f} s" if trial.good else trial.outcome
            for trial in trials
        )
        yield f"| {module.name} | {module.release} | " + " | ".join(cells) + " |"


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; 1 when a module does not serve."""
    parser = argparse.ArgumentParser(
        prog="python -m anywasm.testing.golden.modules", description=(__doc__ or "").split("\n")[0]
    )
    parser.add_argument("--wheels", type=Path, required=True, help="folder of unpacked wheels")
    parser.add_argument("--engine", action="append", help="only this engine; repeatable")
    parser.add_argument("--module", action="append", help="only modules named so; repeatable")
    options = parser.parse_args(arguments)
    logging.getLogger("anywasm").addHandler(logging.NullHandler())
    vms = [get_wasm_engine(name) for name in options.engine or ()] or [
        status.vm
        for status in engine_statuses()
        if status.vm is not None and status.vm.capabilities.wasm
    ]
    guests = GuestFinder(options.wheels)
    rows = []
    for module in MODULES:
        if options.module and not any(name in module.name for name in options.module):
            continue
        trials = []
        for vm in vms:
            print(f"{module.name} on {vm.name} ...", file=sys.stderr)  # noqa: T201
            trials.append(try_module(module, guests, vm))
        rows.append((module, trials))
    for line in markdown([vm.name for vm in vms], rows):
        print(line)  # noqa: T201
    return 0 if all(trial.good for _, trials in rows for trial in trials) else 1


if __name__ == "__main__":
    sys.exit(main())
