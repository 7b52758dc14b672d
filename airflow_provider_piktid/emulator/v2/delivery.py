# SPDX-License-Identifier: Apache-2.0
"""Deliver notifications to the account's webhook, signed and with retries."""

from __future__ import annotations

import hashlib
import hmac
import json
import secrets
import urllib.error
import urllib.request
from functools import partial
from typing import Any

from ..core import Core
from .entities import Notification, Webhook

DELIVERY_SECONDS = 10.0


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *args: Any, **kwargs: Any) -> None:
        return None


_opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), _NoRedirect())


class Webhooks:
    """The account's webhook."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self.clear()

    def clear(self) -> None:
        """Remove the webhook."""
        self.current: Webhook | None = None
        self.deliveries: list[dict[str, Any]] = []

    def save(self, url: str) -> Webhook:
        """Create the webhook, or change its URL and rotate its secret; then deliver a ping."""
        now = self._core.clock.time()
        with self._core.lock:
            created = self.current.created_at if self.current else now
            self.current = Webhook(1, url, f"whsec_{secrets.token_hex(24)}", created, now)
        self.ping()
        return self.current

    def ping(self) -> None:
        """Deliver a test event."""
        self.deliver(Notification(0, "ping", {"message": "Webhook test"}, self._core.clock.time()))

    def deliver(self, notification: Notification) -> None:
        """Deliver a notification if a webhook is set."""
        if self.current is not None and self.current.is_active:
            self._core.deliveries.submit(self._try, notification, 1)

    def _try(self, notification: Notification, number: int) -> None:
        hook = self.current
        if hook is None:
            return
        status = _post(hook, notification)
        with self._core.lock:
            hook.last_response_status = status
            hook.last_response_at = self._core.clock.time()
            self.deliveries.append(
                {"id": notification.id, "name": notification.name, "try": number, "status": status}
            )
        settings = self._core.settings
        if (status is None or not 200 <= status < 300) and number < settings.webhook_tries:
            again = partial(self._core.deliveries.submit, self._try, notification, number + 1)
            self._core.deliveries.call_later(settings.webhook_backoff * 2 ** (number - 1), again)


def _post(hook: Webhook, notification: Notification) -> int | None:
    body = json.dumps(notification.as_dict()).encode()
    signature = hmac.new(hook.secret.encode(), body, hashlib.sha256).hexdigest()
    headers = {
        "Content-Type": "application/json",
        "X-Webhook-Signature": f"sha256={signature}",
        "X-Webhook-Event": notification.name,
    }
    # put_webhook accepts http and https only
    request = urllib.request.Request(hook.url, data=body, headers=headers, method="POST")  # noqa: S310
    try:
        with _opener.open(request, timeout=DELIVERY_SECONDS) as response:
            return int(response.status)
    except urllib.error.HTTPError as error:
        error.close()
        return error.code
    except (OSError, ValueError):
        return None
