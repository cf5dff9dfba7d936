"""What a worker is told when it begins."""

from __future__ import annotations

import base64
import pickle
import socket
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from anywasm.plugins.config import AppConfig, PluginConfig


@dataclass(frozen=True, slots=True)
class WorkerSettings:
    """What a worker is told when it begins.

    Attributes:
        number: Which of the workers it is, from 1 on.
        config: What it serves.
        sockets: The descriptors of each listener's sockets, which it inherits.
        options: What the command that runs the worker needs to know.
    """

    number: int
    config: AppConfig
    sockets: Mapping[str, tuple[int, ...]]
    options: Mapping[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """As it is sent."""
        return {
            "number": self.number,
            "config": pack(self.config),
            "sockets": self.sockets,
            "options": self.options,
            "path": sys.path,
        }

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> WorkerSettings:
        """As it is received. Modules are found where the supervisor finds them from now on."""
        sys.path[:] = data["path"]
        config = unpack(data["config"])
        assert isinstance(config, AppConfig)
        return cls(data["number"], config, data["sockets"], data["options"])

    def open_sockets(self) -> dict[str, list[socket.socket]]:
        """The listeners' sockets, owned by the caller."""
        return {
            name: [socket.socket(fileno=number) for number in numbers]
            for name, numbers in self.sockets.items()
        }


def pack(config: AppConfig | PluginConfig) -> str:
    """A configuration with all that is secret in it, for a worker and nobody else.

    The file is read once, by the supervisor: every worker has the same, however often it changes.
    """
    return base64.b64encode(pickle.dumps(config)).decode()


def unpack(text: str) -> AppConfig | PluginConfig:
    """What `pack` packed; only ever used between a supervisor and the workers it started."""
    config: AppConfig | PluginConfig = pickle.loads(base64.b64decode(text))
    return config
