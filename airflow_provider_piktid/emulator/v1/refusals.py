# SPDX-License-Identifier: Apache-2.0
"""Answers of the v1 API that say no."""

from __future__ import annotations

from http import HTTPStatus

from ..core import Core
from ..wire import Refused


def refusal(status: int, description: str, headers: dict[str, str] | None = None) -> Refused:
    """Return a refusal as v1 words it: code, message, description."""
    body = {"code": status, "message": HTTPStatus(status).phrase, "description": description}
    return Refused(status, body, headers)


def invalid(core: Core, description: str) -> Refused:
    """Return the refusal of a request that is wrong."""
    return refusal(core.variants.number("validation_status"), description)
