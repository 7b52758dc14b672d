# SPDX-License-Identifier: Apache-2.0
"""``check``: test a connection and show what is set."""

from __future__ import annotations

import itertools
import time
from argparse import Namespace
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from airflow import __version__ as airflow_version

from airflow_provider_piktid import __version__
from airflow_provider_piktid.cli.connection import CommandHook
from airflow_provider_piktid.cli.output import Progress, Text
from airflow_provider_piktid.cli.runner import DONE, WRONG, Result
from airflow_provider_piktid.common.compat import has_task_state_store
from airflow_provider_piktid.common.records import configured_folder
from airflow_provider_piktid.exceptions import PiktidError, PiktidNotFoundError
from airflow_provider_piktid.hooks.webhook import shown

if TYPE_CHECKING:
    from airflow_provider_piktid.client import PiktidClient
    from airflow_provider_piktid.hooks.piktid import PiktidSettings

#: Jobs counted at most: an account runs five.
COUNTED = 200

ACTIVE = ("pending", "processing")


def collect(arguments: Namespace, progress: Progress) -> Result:
    """Test the connection, then ask for what each further row shows; one that fails does not stop the others."""
    hook = CommandHook(arguments.conn_id)
    settings = hook.settings
    began = time.monotonic()
    works, message = hook.test_connection()
    rows = [
        _row("versions", None, f"airflow-provider-piktid {__version__}, Airflow {airflow_version}"),
        _row("connection", works, f"{message} ({time.monotonic() - began:.2f} s)"),
        _row("limits", None, _limits(settings)),
        _row("records", *_records()),
    ]
    if works and not settings.login:
        with hook.get_conn() as client:
            rows += [
                _asked("running jobs", lambda: _running(client, settings)),
                _asked("credits used", lambda: _credits(client)),
                _asked("webhook", lambda: _webhook(client, settings)),
            ]
    document = {"connection": settings.conn_id, "base_url": settings.base_url, "checks": rows}
    return Result(document, WRONG if any(row["ok"] is False for row in rows) else DONE)


def show(document: dict[str, Any], text: Text) -> None:
    """Print one line for each check."""
    words = {True: "ok", False: "WRONG", None: ""}
    text.table(
        (document["connection"], "", ""),
        [(row["name"], words[row["ok"]], row["text"]) for row in document["checks"]],
    )


def _row(name: str, ok: bool | None, text: str) -> dict[str, Any]:
    return {"name": name, "ok": ok, "text": text}


def _asked(name: str, question: Callable[[], str]) -> dict[str, Any]:
    try:
        return _row(name, None, question())
    except PiktidError as error:
        return _row(name, None, f"not known: {error}")


def _limits(settings: PiktidSettings) -> str:
    return (
        f"{settings.jobs_per_minute} jobs in {settings.rate_window:g} s, {settings.active_jobs} active jobs, "
        f"{settings.images_per_job} images in a job (as set in the connection)"
    )


def _records() -> tuple[bool | None, str]:
    folder = configured_folder()
    if folder:
        return None, f"[piktid] state_path = {folder}"
    if has_task_state_store():
        return None, "Airflow's task state store ([piktid] state_path is not set)"
    return False, (
        "nowhere, unless operators have a state_path: a retry cannot re-attach reliably. Set [piktid] state_path to a "
        "folder that all workers can write to"
    )


def _running(client: PiktidClient, settings: PiktidSettings) -> str:
    counts = {status: _count(client, status) for status in ACTIVE}
    parts = ", ".join(f"{number} {status}" for status, number in counts.items())
    return f"{parts}; the connection allows {settings.active_jobs}"


def _count(client: PiktidClient, status: str) -> int:
    # Compared again: whether the server filters as documented was never seen.
    jobs = itertools.islice(client.iter_gallery_jobs(status=status), COUNTED)
    return sum(job.status == status for job in jobs)


def _credits(client: PiktidClient) -> str:
    used = client.get_credits_used()
    if used.total_credits is None:
        return "PiktID does not say"
    by_type: dict[str, float] = {}
    for period in used.summary:
        by_type[period.job_type or "other"] = by_type.get(period.job_type or "other", 0) + (
            period.total_credits or 0
        )
    parts = ", ".join(f"{name} {number:g}" for name, number in sorted(by_type.items()))
    return f"{used.total_credits:g}{f' ({parts})' if parts else ''}; PiktID does not tell how many are left"


def _webhook(client: PiktidClient, settings: PiktidSettings) -> str:
    try:
        webhook = client.get_webhook()
    except PiktidNotFoundError:
        return "none is set"
    status = webhook.last_response_status
    answer = "no answer yet" if webhook.last_response_at is None else "the last delivery could not reach it"
    if status:
        answer = f"last answer HTTP {status}"
    secret = "" if settings.webhook_secrets else "; the connection has no webhook_secret"
    return f"{shown(webhook.url)}, {answer}{secret}"
