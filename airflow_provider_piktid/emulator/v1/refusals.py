# SPDX-License-Identifier: Apache-2.0
"""Error responses of the v1 API."""

from __future__ import annotations

from http import HTTPStatus

from ..core import Core
from ..wire import Refused


def refusal(status: int, description: str, headers: dict[str, str] | None = None) -> Refused:
    """Return an error response in the format of v1: code, message, description."""
    body = {"code": status, "message": HTTPStatus(status).phrase, "description": description}
    return Refused(status, body, headers)


def invalid(core: Core, description: str) -> Refused:
    """Return the error response to an invalid request."""
    return refusal(core.variants.number("validation_status"), description)
