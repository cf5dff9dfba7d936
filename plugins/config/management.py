"""The management API's listener."""

from __future__ import annotations

import os

from pydantic import Field, SecretStr, field_validator, model_validator

from anywasm.plugins.config.address import Address, ListenAddress
from anywasm.plugins.config.model import CrossCheckError, Model

#: Environment variable that brings the token, so that it need not stand in a file.
TOKEN_VARIABLE = "ANYWASM_MANAGEMENT_TOKEN"


def environment_token() -> SecretStr | None:
    """The token from the environment; None when unset or empty."""
    token = os.environ.get(TOKEN_VARIABLE)
    return SecretStr(token) if token else None


class ManagementConfig(Model):
    """Where plugins are installed and inspected. Whoever reaches it can run code."""

    address: ListenAddress = Address("127.0.0.1", 34998)
    """As for a listener; without a token only this machine may be able to reach it."""
    token: SecretStr | None = Field(default_factory=environment_token, validate_default=True)
    """What clients send as `Authorization: Bearer`; by default from ANYWASM_MANAGEMENT_TOKEN."""

    @field_validator("token")
    @classmethod
    def _sendable(cls, token: SecretStr | None) -> SecretStr | None:
        text = token.get_secret_value() if token is not None else None
        if text is not None and (
            not text or not all("!" <= character <= "~" for character in text)
        ):
            raise ValueError("must be printable ASCII without spaces, and not empty")
        return token

    @model_validator(mode="after")
    def _guarded(self) -> ManagementConfig:
        if self.token is None and not self.address.local:
            message = (
                f"other machines can reach it, so it needs a token: set management.token or "
                f"{TOKEN_VARIABLE}, or listen on 127.0.0.1"
            )
            raise CrossCheckError([(("address",), message)])
        return self
