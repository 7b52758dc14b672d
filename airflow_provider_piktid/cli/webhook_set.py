# SPDX-License-Identifier: Apache-2.0
"""``webhook set``: set the webhook and store its secret, which PiktID returns this once."""

from __future__ import annotations

import json
import os
from argparse import Namespace
from typing import Any

from airflow_provider_piktid.cli.connection import CommandHook, metadata_connection
from airflow_provider_piktid.cli.output import Progress, Text
from airflow_provider_piktid.cli.runner import Result
from airflow_provider_piktid.exceptions import PiktidConfigError
from airflow_provider_piktid.get_provider_info import WEBHOOK_SECRETS
from airflow_provider_piktid.hooks import webhook


def collect(arguments: Namespace, progress: Progress) -> Result:
    """Check that the secret can be stored, set the webhook, and store the secret."""
    if not arguments.store and not arguments.secret_file:
        raise PiktidConfigError(
            "PiktID returns the secret of a webhook only when it is set, and this command never prints it. Pass "
            "--store to put it into the connection, or --secret-file FILE."
        )
    if arguments.store:
        _require_stored(arguments.conn_id)
    file = _create(arguments.secret_file) if arguments.secret_file else None
    try:
        with CommandHook(arguments.conn_id).get_conn() as client:
            made = webhook.register(client, arguments.conn_id, arguments.url, replace=arguments.replace)
    except Exception as error:
        if file is not None:
            os.close(file)
            os.unlink(arguments.secret_file)
        if isinstance(error, PiktidConfigError):
            raise PiktidConfigError(str(error).replace("replace=True", "--replace")) from error
        raise
    if file is not None:
        with os.fdopen(file, "w") as stream:
            stream.write(f"{made.secret or ''}\n")
    if arguments.store and made.secret:
        _store(arguments.conn_id, made.secret)
    return Result(
        {
            "connection": arguments.conn_id,
            "url": webhook.shown(made.url or arguments.url),
            "has_secret": bool(made.secret),
            "stored": bool(arguments.store and made.secret),
            "secret_file": arguments.secret_file,
        }
    )


def _create(path: str) -> int:
    """Create a file that only its owner can read, before anything is changed at PiktID."""
    try:
        return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except OSError as error:
        raise PiktidConfigError(
            f"--secret-file {path} cannot be created ({error.strerror}). Name a file that does not exist."
        ) from error


def _require_stored(conn_id: str) -> None:
    from airflow.utils.session import create_session

    with create_session() as session:
        if metadata_connection(session, conn_id) is None:
            raise PiktidConfigError(
                f"Connection {conn_id} is not in Airflow's metadata database, so --store cannot change it. Pass "
                "--secret-file FILE, and put its content into webhook_secret of the connection's extra."
            )


def _store(conn_id: str, secret: str) -> None:
    """Put the secret into the connection; the one before stays valid for deliveries that are on their way."""
    from airflow.utils.session import create_session

    current, previous = WEBHOOK_SECRETS
    with create_session() as session:
        conn = metadata_connection(session, conn_id)
        if conn is None:
            raise PiktidConfigError(
                f"Connection {conn_id} was removed meanwhile, so the secret is lost. Set the webhook again, --replace."
            )
        extra = dict(conn.extra_dejson)
        if extra.get(current):
            extra[previous] = extra[current]
        conn.set_extra(json.dumps(extra | {current: secret}))


def show(document: dict[str, Any], text: Text) -> None:
    """Print where the webhook goes now, and where its secret is."""
    text.line(f"{document['connection']}: the webhook of the account goes to {document['url']}.")
    if not document["has_secret"]:
        text.line("PiktID returned no secret: deliveries cannot be checked.")
    if document["stored"]:
        text.line(f"Its secret is webhook_secret of connection {document['connection']}.")
    if document["secret_file"]:
        text.line(
            f"Its secret is in {document['secret_file']}; put it into webhook_secret of the connection."
        )
