# SPDX-License-Identifier: Apache-2.0
"""What the oldest supported common-compat provider lacks, or does in a way that does not work on every Airflow."""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from typing import Any, Final

from airflow.providers.common.compat.sdk import BaseHook

__all__ = ["async_connection", "has_task_state_store", "mask_secret"]

#: Where ``mask_secret`` is, newest Airflow first; ``common.compat.sdk`` has it only from 1.22 on.
MASKERS: Final = (
    "airflow.sdk.log",
    "airflow.sdk.execution_time.secrets_masker",
    "airflow.utils.log.secrets_masker",
)


def mask_secret(secret: str) -> None:
    """Mask a text in the logs of this task and of its supervisor."""
    for name in MASKERS:
        try:
            mask = import_module(name).mask_secret
        except (ImportError, AttributeError):
            continue
        mask(secret)
        return
    raise ImportError("This Airflow has no mask_secret in a known place.")


def has_task_state_store() -> bool:
    """Return whether Airflow keeps state for tasks (3.3 and newer)."""
    return find_spec("airflow.models.task_state_store") is not None


async def async_connection(conn_id: str) -> tuple[Any, dict[str, Any]]:
    """
    Return a connection and its extra in an event loop, without blocking it.

    Airflow 3.1.0 to 3.3.1 mask the secrets of ``aget_connection`` with a blocking call, which fails while another
    call of the triggerer is under way, and common-compat works around that only from 1.23 on. So older versions
    look the connection up in asgiref's thread, as does ``DAG.test()`` of 3.3, which sees connections of the metadata
    database only so. ``asyncio.to_thread`` would end the triggerer of 3.0.
    """
    from airflow.providers.common.compat.sdk import AirflowNotFoundException, Connection
    from asgiref.sync import sync_to_async

    if hasattr(Connection, "aextra_dejson"):
        try:
            conn = await BaseHook.aget_connection(conn_id)
        except AirflowNotFoundException:
            pass
        else:
            # Within the API server the metadata database gives connections of another class.
            has_async = hasattr(conn, "aextra_dejson")
            return conn, await (conn.aextra_dejson() if has_async else sync_to_async(_extra)(conn))
    return await sync_to_async(_connection)(conn_id)


def _connection(conn_id: str) -> tuple[Any, dict[str, Any]]:
    conn = BaseHook.get_connection(conn_id)
    return conn, _extra(conn)


def _extra(conn: Any) -> dict[str, Any]:
    extra: dict[str, Any] = conn.extra_dejson
    return extra
