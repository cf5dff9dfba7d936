"""How a module is fetched that is no file."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from anywasm.plugins.config.file_path import FilePath
from anywasm.plugins.config.model import CrossCheckError, Model, Name, Switch
from anywasm.plugins.config.units import Duration, Size, Timeout

_POLICIES = {"IfNotPresent": "if_not_present", "Always": "always"}


def _policy(value: object) -> object:
    return _POLICIES.get(value, value) if isinstance(value, str) else value


#: When the network is asked; Kubernetes' spellings are taken, too.
PullPolicy = Annotated[Literal["if_not_present", "always"], BeforeValidator(_policy)]

_URL = re.compile(r"(?:https?|oci)://[^\s/@?#\\]+(?:[/?#]\S*)?", re.ASCII)


def _served(url: str) -> str:
    if not _URL.fullmatch(url):
        raise ValueError(
            "must be https://, http:// or oci://, a host, and no user name; files are named by "
            "path, and credentials by fetch"
        )
    return url


#: Where a module is.
ModuleUrl = Annotated[str, AfterValidator(_served)]


class FetchConfig(Model):
    """How a module is fetched from a URL or a registry."""

    pull_policy: PullPolicy = "if_not_present"
    """Whether what was fetched earlier, on this machine, is good for a start."""
    interval: Duration = 0.0
    """How often is asked whether there is a new one while it serves; 0: never."""
    timeout: Timeout = 30.0
    """One attempt, from name to last byte."""
    retries: Annotated[int, Field(strict=True, ge=0, le=100)] = 3
    """Attempts after a failed one, with growing pauses."""
    max_bytes: Size = 64 * 1024 * 1024
    """What a module, and a layer of an image, may be at most."""
    private_redirects: Switch = False
    """Whether servers may send us to private addresses: to redirects and token services there."""
    plain_http: Switch = False
    """Whether a registry is spoken to without TLS."""
    ca_file: FilePath | None = None
    """Certificates that are trusted, PEM; by default the system's."""
    username: Name | None = None
    """For Basic and token authentication."""
    password_env: Name | None = None
    """The environment variable that holds the password."""
    password_file: FilePath | None = None
    """The file that holds the password; a newline at its end does not count."""
    docker_config: FilePath | None = None
    """A `config.json` of Docker, or a pull secret, with the registry's credentials."""

    @model_validator(mode="after")
    def _credentials(self) -> FetchConfig:
        given = [key for key in ("password_env", "password_file") if getattr(self, key) is not None]
        if len(given) > 1:
            message = "password_env and password_file exclude each other; keep one"
            raise CrossCheckError([(("password_file",), message)])
        if (self.username is None) != (not given):
            message = "username needs a password_env or a password_file, and these a username"
            raise CrossCheckError([(("username",), message)])
        if given and self.docker_config is not None:
            message = "docker_config and username exclude each other; keep one"
            raise CrossCheckError([(("docker_config",), message)])
        return self


#: Names the folder with mounted pull secrets: `NAME/.dockerconfigjson` in it.
SECRETS_VARIABLE = "ANYWASM_PULL_SECRETS"


def pull_secret(name: str) -> Path | None:
    """The file of a Kubernetes pull secret; None where nobody has said where they are."""
    folder = os.environ.get(SECRETS_VARIABLE)
    if not folder or "/" in name or name in ("", ".", ".."):
        return None
    return Path(folder, name, ".dockerconfigjson")
