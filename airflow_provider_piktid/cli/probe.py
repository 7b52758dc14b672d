# SPDX-License-Identifier: Apache-2.0
"""``probe``: find out how the service behaves on this account."""

from __future__ import annotations

import os
import sys
from argparse import Namespace
from pathlib import Path
from typing import Any

from airflow_provider_piktid.cli.output import Progress, Text
from airflow_provider_piktid.cli.runner import DONE, WRONG, Result
from airflow_provider_piktid.exceptions import PiktidConfigError
from airflow_provider_piktid.get_provider_info import DEFAULT_BASE_URL, DEFAULT_V1_URL
from airflow_provider_piktid.probe.run import Plan, run_probe

#: Environment variables for a probe without an Airflow connection.
TOKEN, V1_LOGIN, V1_PASSWORD = "PIKTID_TOKEN", "PIKTID_V1_LOGIN", "PIKTID_V1_PASSWORD"

LEAVES = (
    "The probe reads, and leaves behind one project 'airflow-provider-piktid probe' and one tiny picture for each run. "
    "It deletes nothing that it did not make."
)

PRICES = {
    "spend": "--spend starts one model swap of one picture with one variation. It costs one output. PiktID states no "
    "price; this package assumes 1 credit.",
    "person": "--person generates one person on v1. It costs one generation; this package assumes 1 credit.",
}


def collect(arguments: Namespace, progress: Progress) -> Result:
    """Say what is left behind and what it costs, ask if it costs anything, and probe."""
    plan = _plan(arguments)
    print(LEAVES, file=sys.stderr)
    paid = [name for name in PRICES if getattr(arguments, name)]
    for name in paid:
        print(PRICES[name], file=sys.stderr)
    if paid and not arguments.yes:
        _ask()
    document = run_probe(plan, progress.say)
    return Result(document, WRONG if document["ended_early"] else DONE)


def _ask() -> None:
    if not sys.stdin.isatty():
        raise PiktidConfigError(
            "Nobody can be asked here. Pass --yes to pay without a question. Nothing was sent."
        )
    print("Pay for it? Type yes: ", end="", file=sys.stderr, flush=True)
    if sys.stdin.readline().strip().lower() != "yes":
        raise PiktidConfigError("Not confirmed. Nothing was sent.")


def _plan(arguments: Namespace) -> Plan:
    options = {
        "spend": arguments.spend,
        "person": arguments.person,
        "picture": _picture(arguments.picture),
        "identity": arguments.identity,
        "budget": arguments.budget,
        "timeout": arguments.timeout,
        "stream_seconds": arguments.stream_seconds,
    }
    if arguments.person and not arguments.picture:
        raise PiktidConfigError("--person needs --picture FILE with one person in it. Nothing was sent.")
    return (
        _from_environment(arguments, options) if arguments.base_url else _from_connection(arguments, options)
    )


def _picture(path: str | None) -> bytes | None:
    if not path:
        return None
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise PiktidConfigError(f"--picture {path} cannot be read ({error.strerror}).") from error


def _from_environment(arguments: Namespace, options: dict[str, Any]) -> Plan:
    token, login, password = (os.environ.get(name, "").strip() for name in (TOKEN, V1_LOGIN, V1_PASSWORD))
    if not token and not (login and password):
        raise PiktidConfigError(
            f"--base-url needs {TOKEN}, or {V1_LOGIN} and {V1_PASSWORD}, in the environment."
        )
    base = arguments.base_url.rstrip("/")
    v1_url = arguments.v1_url or (DEFAULT_V1_URL if base == DEFAULT_BASE_URL else f"{base}/api")
    return Plan(base, v1_url, token=token or None, v1_login=(login, password) if login else None, **options)


def _from_connection(arguments: Namespace, options: dict[str, Any]) -> Plan:
    # A probe by --base-url needs no Airflow.
    from airflow_provider_piktid.cli.connection import CommandHook

    settings = CommandHook(arguments.conn_id).settings
    login = (settings.login, settings.password or "") if settings.login else None
    v1_url = arguments.v1_url or settings.v1_url
    v1_token = settings.token if not login else None
    return Plan(settings.base_url, v1_url, token=settings.token, v1_login=login, v1_token=v1_token, **options)


def show(document: dict[str, Any], text: Text) -> None:
    """Print what is known, what is not and why, and what to set."""
    known = [row for row in document["facts"] if row["answer"] is not None]
    text.table(
        ("question", "answer", "seen", "means"),
        [(row["question"], row["answer"], row["seen"], row["means"]) for row in known],
    )
    text.line()
    text.line("Not known:")
    unknown = [row for row in document["facts"] if row["answer"] is None]
    text.table(("question", "because"), [(row["question"], row["unknown_because"]) for row in unknown])
    for title, key in (
        ("What to set on this account", "advice"),
        ("What no source mentions", "surprises"),
        ("Left behind", "left_behind"),
    ):
        text.line()
        text.line(f"{title}:")
        for line in document[key] or ["nothing"]:
            text.line(f"  {line}")
    text.line()
    if document["ended_early"]:
        text.line(f"Ended early: {document['ended_early']}.")
    text.line(
        f"{document['decided']} of {len(document['facts'])} facts known; {document['requests']} requests, "
        f"{document['seconds']} s, {document['credits']:g} credits."
    )
