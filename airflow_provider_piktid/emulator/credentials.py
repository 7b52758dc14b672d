# SPDX-License-Identifier: Apache-2.0
"""Compare what a caller presents with the token, login and password of the settings."""

from __future__ import annotations

import base64
import binascii
import hmac

from starlette.requests import Request

from .settings import Settings


def bearer_of(request: Request) -> str:
    """Return the bearer token of a request, empty if there is none."""
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""


def is_permanent(settings: Settings, token: str) -> bool:
    """Tell whether a token is the one of the settings, which never expires."""
    return hmac.compare_digest(token.encode(), settings.token.encode())


def is_login(settings: Settings, request: Request) -> bool:
    """Tell whether the Basic header of a request holds the login and password of the settings."""
    scheme, _, coded = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "basic":
        return False
    try:
        given = base64.b64decode(coded, validate=True)
    except (binascii.Error, ValueError):
        return False
    return hmac.compare_digest(given, f"{settings.login}:{settings.password}".encode())
