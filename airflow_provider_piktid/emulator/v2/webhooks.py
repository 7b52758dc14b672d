# SPDX-License-Identifier: Apache-2.0
"""Set, show, test and delete the account's webhook."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from ..clock import iso
from ..state import State
from ..wire import Refused, read_json
from .checks import body_check
from .entities import Webhook


def _shape(hook: Webhook, secret: str | None) -> dict[str, Any]:
    return {
        "id": hook.id,
        "url": hook.url,
        "secret": secret,
        "is_active": hook.is_active,
        "created_at": iso(hook.created_at),
        "updated_at": iso(hook.updated_at),
        "last_response_status": hook.last_response_status,
        "last_response_at": None if hook.last_response_at is None else iso(hook.last_response_at),
    }


async def put_webhook(request: Request, state: State) -> Response:
    """``PUT /webhooks``."""
    check = body_check(state, await read_json(request))
    url = check.text("url", required=True, longest=2048)
    if url is not None and (urlsplit(url).scheme not in ("http", "https") or not urlsplit(url).hostname):
        check.wrong("url", "Input should be a valid URL")
    check.done()
    hook = state.v2.webhooks.save(url or "")
    return JSONResponse(_shape(hook, hook.secret))


async def test_webhook(request: Request, state: State) -> Response:
    """``POST /webhooks/test``."""
    if state.v2.webhooks.current is None:
        raise Refused(404, {"error": "Webhook not found"})
    state.v2.webhooks.ping()
    return JSONResponse({"success": True, "message": "Test event sent"})


async def get_webhook(request: Request, state: State) -> Response:
    """``GET /webhooks``."""
    hook = state.v2.webhooks.current
    if hook is None:
        raise Refused(404, {"error": "Webhook not found"})
    return JSONResponse(_shape(hook, None))


async def delete_webhook(request: Request, state: State) -> Response:
    """``DELETE /webhooks``."""
    if state.v2.webhooks.current is None:
        raise Refused(404, {"error": "Webhook not found"})
    state.v2.webhooks.clear()
    return Response(status_code=204)
