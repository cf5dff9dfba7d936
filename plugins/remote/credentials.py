"""User names and passwords, read when they are needed and never kept or logged."""

from __future__ import annotations

import base64
import binascii
import json
import os
from pathlib import Path
from typing import Any

from anywasm.plugins.config import FetchConfig
from anywasm.plugins.errors import PluginLoadError

#: Docker Hub's names, of which its config.json has the first.
_HUB = ("https://index.docker.io/v1/", "index.docker.io", "docker.io", "registry-1.docker.io")


def basic_authorization(config: FetchConfig, registry: str) -> str | None:
    """The value of a Basic `Authorization` header for `registry`, or None without credentials.

    Raises:
        PluginLoadError: When what holds them cannot be read, or holds none for `registry`.
    """
    if config.username is not None:
        pair = f"{config.username}:{_password(config)}".encode()
        return f"Basic {base64.b64encode(pair).decode()}"
    if config.docker_config is not None:
        return f"Basic {_docker_auth(config.docker_config, registry)}"
    return None


def _password(config: FetchConfig) -> str:
    if config.password_file is not None:
        try:
            return config.password_file.read_text("utf-8").rstrip("\r\n")
        except (OSError, UnicodeDecodeError) as error:
            raise PluginLoadError(f"password_file {config.password_file}: {error}") from error
    name = config.password_env or ""
    password = os.environ.get(name)
    if password is None:
        raise PluginLoadError(f"the environment variable {name} (password_env) is not set")
    return password


def _docker_auth(path: Path, registry: str) -> str:
    """The `auth` of a registry: base64 of user name, colon and password."""
    try:
        content = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        # Not the text of a JSON error: it has a part of the file.
        reason = error.strerror if isinstance(error, OSError) else "it is no JSON"
        raise PluginLoadError(f"docker_config {path} cannot be read: {reason}") from None
    found = _entry(content.get("auths") if isinstance(content, dict) else None, registry)
    if found is None:
        helped = isinstance(content, dict) and ("credsStore" in content or "credHelpers" in content)
        hint = "; credential helpers are not run, write auths" if helped else ""
        raise PluginLoadError(f"docker_config {path} has no auths for {registry}{hint}")
    if found.get("identitytoken"):
        raise PluginLoadError(
            f"docker_config {path}: identity tokens are not served; write a password for {registry}"
        )
    auth = found.get("auth")
    if not auth:
        pair = f"{found.get('username', '')}:{found.get('password', '')}"
        auth = base64.b64encode(pair.encode()).decode()
    try:
        base64.b64decode(auth, validate=True)
    except (binascii.Error, TypeError, ValueError):
        raise PluginLoadError(f"docker_config {path}: auth of {registry} is no base64") from None
    return str(auth)


def _entry(auths: Any, registry: str) -> dict[str, Any] | None:
    names = _HUB if registry in _HUB else (registry, f"https://{registry}", f"http://{registry}")
    for name in names:
        for spelled in (name, f"{name}/", f"{name}/v1/", f"{name}/v2/"):
            found = auths.get(spelled) if isinstance(auths, dict) else None
            if isinstance(found, dict):
                return found
    return None
