# SPDX-License-Identifier: Apache-2.0
"""The account's webhook: set, tested, and delivered to with a signature and with retries."""

from __future__ import annotations

import hashlib
import hmac
import json
import secrets
import urllib.error
import urllib.request
from functools import partial
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from ..clock import iso
from ..wire import Check, Refused, read_json
from .entities import Notification, Webhook

if TYPE_CHECKING:
    from ..state import State

DELIVERY_SECONDS = 10.0


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *args: Any, **kwargs: Any) -> None:
        return None


_opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), _NoRedirect())


class Webhooks:
    """One webhook for the account."""

    def __init__(self, state: State) -> None:
        self._state = state
        self.clear()

    def clear(self) -> None:
        """Forget the webhook."""
        self.current: Webhook | None = None
        self.deliveries: list[dict[str, Any]] = []

    def save(self, url: str) -> Webhook:
        """Create the webhook, or change its address and rotate its secret; a ping goes out at once."""
        now = self._state.clock.time()
        with self._state.lock:
            created = self.current.created_at if self.current else now
            self.current = Webhook(1, url, f"whsec_{secrets.token_hex(24)}", created, now)
        self.ping()
        return self.current

    def ping(self) -> None:
        """Deliver a test event."""
        self.deliver(Notification(0, "ping", {"message": "Webhook test"}, self._state.clock.time()))

    def deliver(self, notification: Notification) -> None:
        """Deliver a notification, if there is a webhook."""
        if self.current is not None and self.current.is_active:
            self._state.deliveries.submit(self._try, notification, 1)

    def _try(self, notification: Notification, number: int) -> None:
        hook = self.current
        if hook is None:
            return
        status = _post(hook, notification)
        with self._state.lock:
            hook.last_response_status = status
            hook.last_response_at = self._state.clock.time()
            self.deliveries.append(
                {"id": notification.id, "name": notification.name, "try": number, "status": status}
            )
        settings = self._state.settings
        if (status is None or not 200 <= status < 300) and number < settings.webhook_tries:
            again = partial(self._state.deliveries.submit, self._try, notification, number + 1)
            self._state.deliveries.call_later(settings.webhook_backoff * 2 ** (number - 1), again)


def _post(hook: Webhook, notification: Notification) -> int | None:
    body = json.dumps(notification.as_dict()).encode()
    signature = hmac.new(hook.secret.encode(), body, hashlib.sha256).hexdigest()
    headers = {
        "Content-Type": "application/json",
        "X-Webhook-Signature": f"sha256={signature}",
        "X-Webhook-Event": notification.name,
    }
    # put_webhook lets only http and https in
    request = urllib.request.Request(hook.url, data=body, headers=headers, method="POST")  # noqa: S310
    try:
        with _opener.open(request, timeout=DELIVERY_SECONDS) as response:
            return int(response.status)
    except urllib.error.HTTPError as error:
        error.close()
        return error.code
    except (OSError, ValueError):
        return None


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
    check = Check(await read_json(request), status=state.variants.number("validation_status"))
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
