"""What the management API accepts. Paths, keys and messages are Layotto's."""

from __future__ import annotations

from typing import Any

from pydantic import ValidationError

from anywasm.core.errors import ConfigError
from anywasm.plugins.config import PluginConfig


class BadRequestError(ConfigError):
    """The request's body is not what the endpoint takes."""


def read_name(body: object) -> str:
    """The plugin's name of any request.

    Raises:
        BadRequestError: When there is none.
    """
    if not isinstance(body, dict):
        raise BadRequestError("invalid request body")
    name = body.get("name")
    if not isinstance(name, str) or not name:
        raise BadRequestError("can't get name property")
    return name


def read_instance_num(body: dict[str, Any]) -> int:
    """The number of instances of an update.

    Raises:
        BadRequestError: When there is none, or it is not greater than 0.
    """
    number = body.get("instance_num")
    if not isinstance(number, int) or isinstance(number, bool):
        raise BadRequestError("can't get instance_num property")
    if number <= 0:
        raise BadRequestError("instance_num should be greater than 0")
    return number


def read_plugin(body: dict[str, Any]) -> PluginConfig:
    """The plugin of an install: the keys of a plugin in the configuration file.

    Raises:
        BadRequestError: Naming each wrong key.
    """
    if body.get("vm_config") is None:
        raise BadRequestError("nil vm config")
    if "instance_num" in body:
        read_instance_num(body)
    try:
        return PluginConfig.model_validate(body)
    except ValidationError as error:
        problems = (
            f"{'.'.join(map(str, item['loc']))}: {item['msg']}" if item["loc"] else item["msg"]
            for item in error.errors(include_url=False, include_input=False)
        )
        raise BadRequestError("; ".join(problems)) from None
