# SPDX-License-Identifier: Apache-2.0
"""What is looked up in the same way on every Airflow and every common-compat."""

from __future__ import annotations

import json
import threading
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import BaseHook, Connection, redact

from airflow_provider_piktid.common.compat import async_connection, mask_secret

CONN = "AIRFLOW_CONN_PIKTID_DEFAULT"


def test_masked_text_is_not_logged() -> None:
    """A masked text does not show in what this process logs, on every Airflow."""
    mask_secret("a-secret-of-this-test")
    assert "a-secret-of-this-test" not in str(redact("it is a-secret-of-this-test"))


@pytest.mark.anyio
async def test_connection_has_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    """The lookup in an event loop returns the connection and its decoded extra."""
    monkeypatch.setenv(CONN, json.dumps({"conn_type": "piktid", "host": "h", "extra": {"timeout": 5}}))

    conn, extra = await async_connection("piktid_default")

    assert (conn.host, extra) == ("h", {"timeout": 5})


@pytest.mark.anyio
async def test_lookup_before_3_3_2_does_not_run_in_the_event_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without ``aextra_dejson`` the blocking lookup and the reading of the extra run in another thread."""
    seen: list[int] = []

    class FakeConnection:
        @property
        def extra_dejson(self) -> dict[str, Any]:
            seen.append(threading.get_ident())
            return {}

    def get_connection(conn_id: str) -> FakeConnection:
        seen.append(threading.get_ident())
        return FakeConnection()

    monkeypatch.delattr(Connection, "aextra_dejson", raising=False)
    monkeypatch.setattr(BaseHook, "get_connection", get_connection)

    await async_connection("piktid_default")

    assert len(seen) == 2
    assert threading.get_ident() not in seen


@pytest.mark.anyio
@pytest.mark.skipif(not hasattr(Connection, "aextra_dejson"), reason="older versions have one class")
async def test_connection_of_the_metadata_database_has_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    """In the API server the lookup gives a connection of another class, which cannot decode its extra in the loop."""
    from airflow.models.connection import Connection as StoredConnection

    stored = StoredConnection(conn_id="piktid_default", conn_type="piktid", extra='{"timeout": 5}')

    async def aget_connection(conn_id: str) -> Any:
        return stored

    monkeypatch.setattr(BaseHook, "aget_connection", aget_connection)

    assert await async_connection("piktid_default") == (stored, {"timeout": 5})
