# SPDX-License-Identifier: Apache-2.0
"""Set and test the webhook of an account. It has only one, so whose webhook is replaced is said first."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from airflow_provider_piktid.exceptions import (
    PiktidAPIError,
    PiktidAuthError,
    PiktidConfigError,
    PiktidNotFoundError,
)

if TYPE_CHECKING:
    from airflow_provider_piktid.client import PiktidClient
    from airflow_provider_piktid.models import Webhook

#: Seconds that the answer to a test delivery is waited for.
TEST_SECONDS: Final = 10.0


def register(client: PiktidClient, conn_id: str, url: str, *, replace: bool) -> Webhook:
    """
    Set the webhook and return it with its new secret.

    :param replace: Replace a webhook that is set, also one with the same address: its secret changes.
    :raises PiktidConfigError: A webhook is set, or PiktID does not say whether, and ``replace`` is False; or the
        address is not ``https``, outside of this machine.
    """
    _check_address(url)
    if not replace:
        _refuse_to_replace(client, conn_id)
    return client.set_webhook(url)


def _check_address(url: str) -> None:
    parts = urlsplit(url)
    if parts.scheme == "https" or parts.hostname in ("127.0.0.1", "::1", "localhost"):
        return
    raise PiktidConfigError(
        f"`url` must start with https://, not {shown(url)}: others could read what PiktID sends."
    )


def _refuse_to_replace(client: PiktidClient, conn_id: str) -> None:
    remedy = "Pass replace=True to replace it; what receives it now stops working, as its secret changes."
    try:
        current = client.get_webhook()
    except PiktidNotFoundError:
        return
    except PiktidAuthError:
        raise
    except PiktidAPIError as error:
        raise PiktidConfigError(
            f"{conn_id}: PiktID does not say whether the account has a webhook already (HTTP {error.status}). {remedy}"
        ) from error
    since = f" since {current.updated_at}" if current.updated_at else ""
    raise PiktidConfigError(
        f"{conn_id}: the account has one webhook, and it is set to {shown(current.url)}{since}. {remedy}"
    )


def request_test(client: PiktidClient, conn_id: str, seconds: float = TEST_SECONDS) -> tuple[bool, str]:
    """Request a test delivery, and return whether it was accepted, with a message."""
    try:
        before = _last_answer(client)
        if before is not None:
            # Times of answers have whole seconds; two within the same second look equal.
            time.sleep(1.1)
        client.test_webhook()
    except PiktidNotFoundError:
        return False, f"{conn_id}: the account has no webhook. Set one with PiktidHook.register_webhook."
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        after = _last_answer(client)
        if after != before and after is not None:
            status = after[1]
            if not status:
                return False, _unreachable(conn_id, after[2])
            return 200 <= status < 300, f"{conn_id}: {shown(after[2])} answered the test with HTTP {status}."
        time.sleep(0.25)
    return False, f"{conn_id}: a test was requested, but PiktID reports no answer within {seconds:g} s."


def _unreachable(conn_id: str, url: str | None) -> str:
    return (
        f"{conn_id}: PiktID could not reach {shown(url)}, or got no answer in time. Check that the receiver runs "
        "there, that the address is reachable from the internet (DNS, firewall, reverse proxy), and that the "
        "certificate of an https address is valid."
    )


def _last_answer(client: PiktidClient) -> tuple[str, int, str | None] | None:
    webhook = client.get_webhook()
    if webhook.last_response_at is None:
        return None
    return webhook.last_response_at, webhook.last_response_status or 0, webhook.url


def shown(url: str | None) -> str:
    """Return an address for messages: without login and query, which may contain secrets."""
    try:
        parts = urlsplit(url or "")
        host, port = parts.hostname, f":{parts.port}" if parts.port else ""
    except ValueError:
        host = None
    return f"{parts.scheme}://{host}{port}{parts.path}" if host else "an unknown address"
