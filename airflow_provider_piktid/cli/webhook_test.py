# SPDX-License-Identifier: Apache-2.0
"""``webhook test``: let PiktID send a test, and wait for the receiver's answer."""

from __future__ import annotations

from argparse import Namespace
from typing import Any

from airflow_provider_piktid.cli.connection import CommandHook
from airflow_provider_piktid.cli.output import Progress, Text
from airflow_provider_piktid.cli.runner import DONE, WRONG, Result
from airflow_provider_piktid.hooks import webhook


def collect(arguments: Namespace, progress: Progress) -> Result:
    """Request a test delivery."""
    with CommandHook(arguments.conn_id).get_conn() as client:
        accepted, message = webhook.request_test(client, arguments.conn_id)
    return Result({"accepted": accepted, "message": message}, DONE if accepted else WRONG)


def show(document: dict[str, Any], text: Text) -> None:
    """Print how the receiver answered."""
    text.line(document["message"])
