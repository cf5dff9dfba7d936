"""A line for each request."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, Field, ValidationInfo

from anywasm.plugins.config.file_path import resolve_file
from anywasm.plugins.config.model import Model

#: Stands for the standard output.
STDOUT = "-"
#: Envoy's default format.
ENVOY_FORMAT = (
    '[%START_TIME%] "%REQ(:METHOD)% %REQ(X-ENVOY-ORIGINAL-PATH?:PATH)% %PROTOCOL%" '
    "%RESPONSE_CODE% %RESPONSE_FLAGS% %BYTES_RECEIVED% %BYTES_SENT% %DURATION% "
    '%RESP(X-ENVOY-UPSTREAM-SERVICE-TIME)% "%REQ(X-FORWARDED-FOR)%" "%REQ(USER-AGENT)%" '
    '"%REQ(X-REQUEST-ID)%" "%REQ(:AUTHORITY)%" "%UPSTREAM_HOST%"\n'
)


def _target(value: str, info: ValidationInfo) -> str:
    return value if value == STDOUT else str(resolve_file(Path(value), info))


class AccessLogConfig(Model):
    """Where requests are logged to, and how."""

    path: Annotated[str, AfterValidator(_target)] = STDOUT
    """`-` for the standard output, or a file that is appended to."""
    format: Annotated[str, Field(min_length=1)] = ENVOY_FORMAT
    """Text with Envoy's command operators, such as `%RESPONSE_CODE%`."""
