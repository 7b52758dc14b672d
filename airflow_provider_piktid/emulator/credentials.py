# SPDX-License-Identifier: Apache-2.0
"""Check a caller's token, login and password against the settings."""

from __future__ import annotations

import base64
import binascii
import hmac

from starlette.requests import Request

from .settings import Settings


def bearer_of(request: Request) -> str:
    """Return the bearer token of a request, or an empty string."""
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""


def is_permanent(settings: Settings, token: str) -> bool:
    """Return whether a token is the one from the settings, which never expires."""
    return hmac.compare_digest(token.encode(), settings.token.encode())


def is_login(settings: Settings, request: Request) -> bool:
    """Return whether a request has the configured login and password as Basic credentials."""
    scheme, _, coded = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "basic":
        return False
    try:
        given = base64.b64decode(coded, validate=True)
    except (binascii.Error, ValueError):
        return False
    return hmac.compare_digest(given, f"{settings.login}:{settings.password}".encode())
