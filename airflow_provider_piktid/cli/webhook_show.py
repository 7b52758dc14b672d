# SPDX-License-Identifier: Apache-2.0
"""``webhook show``: where the webhook of the account goes."""

from __future__ import annotations

from argparse import Namespace
from typing import Any

from airflow_provider_piktid.cli.connection import CommandHook
from airflow_provider_piktid.cli.output import Progress, Text
from airflow_provider_piktid.cli.runner import Result
from airflow_provider_piktid.exceptions import PiktidNotFoundError
from airflow_provider_piktid.hooks.webhook import shown


def collect(arguments: Namespace, progress: Progress) -> Result:
    """Read the webhook. The public API does not document this request."""
    hook = CommandHook(arguments.conn_id)
    document: dict[str, Any] = {
        "connection": arguments.conn_id,
        "url": None,
        "connection_has_secret": bool(hook.settings.webhook_secrets),
    }
    try:
        with hook.get_conn() as client:
            webhook = client.get_webhook()
    except PiktidNotFoundError:
        return Result(document)
    return Result(
        document
        | {
            "url": shown(webhook.url),
            "is_active": webhook.is_active,
            "updated_at": webhook.updated_at,
            "last_response_status": webhook.last_response_status,
            "last_response_at": webhook.last_response_at,
        }
    )


def show(document: dict[str, Any], text: Text) -> None:
    """Print the webhook."""
    if document["url"] is None:
        text.line(f"{document['connection']}: the account has no webhook.")
        return
    answer = document["last_response_status"]
    text.line(f"{document['connection']}: {document['url']}")
    text.line(f"active: {document['is_active']}, set {document['updated_at']}")
    at = document["last_response_at"]
    if answer:
        text.line(f"last answer: HTTP {answer} at {at}")
    else:
        text.line(f"last answer: none, could not be reached at {at}" if at else "last answer: none yet")
    text.line(f"webhook_secret in the connection: {'yes' if document['connection_has_secret'] else 'no'}")
