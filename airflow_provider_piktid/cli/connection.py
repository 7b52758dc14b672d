# SPDX-License-Identifier: Apache-2.0
"""Connections for a command: it runs beside Airflow, not inside a task."""

from __future__ import annotations

from typing import Any

from airflow_provider_piktid.exceptions import PiktidConfigError
from airflow_provider_piktid.hooks.piktid import PiktidHook


class CommandHook(PiktidHook):
    """A hook that finds connections of the environment, a secrets backend or the metadata database."""

    @classmethod
    def get_connection(cls, conn_id: str) -> Any:
        """
        Return a connection.

        :raises PiktidConfigError: There is none, or the metadata database cannot be read.
        """
        from airflow.models.connection import Connection
        from airflow.providers.common.compat.sdk import AirflowNotFoundException

        try:
            # Not that of the Task SDK, which sees no metadata database outside of a task.
            return Connection.get_connection_from_secrets(conn_id)
        except AirflowNotFoundException as error:
            raise PiktidConfigError(
                f"Connection {conn_id} does not exist. Pass --conn-id, or create it: airflow connections add {conn_id} "
                "--conn-type piktid --conn-password <API token>"
            ) from error
        except Exception as error:
            raise PiktidConfigError(
                f"Connection {conn_id} cannot be read ({type(error).__name__}). Check the metadata database and the "
                "secrets backend of this Airflow."
            ) from error


def metadata_connection(session: Any, conn_id: str) -> Any | None:
    """Return a connection of the metadata database as an object of its session; None if it is elsewhere."""
    from airflow.models.connection import Connection
    from sqlalchemy import select

    return session.scalar(select(Connection).where(Connection.conn_id == conn_id))
