# SPDX-License-Identifier: Apache-2.0
"""The parts of Airflow's REST API that the receiver needs: assets on Airflow 3, datasets on Airflow 2."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import httpx

from airflow_provider_piktid.common.compat import async_connection
from airflow_provider_piktid.exceptions import PiktidConfigError

#: Seconds of one request.
REQUEST_SECONDS: Final = 3.0
#: Rows of a page, the most that Airflow allows by default; and pages.
PAGE: Final = 100
MAX_PAGES: Final = 50


#: Airflow 3 answers an invalid token with 403.
REFUSED: Final = (401, 403)


@dataclass(frozen=True)
class _Words:
    """What a version of the API calls its paths and keys."""

    path: str
    assets: str
    events: str
    number: str


_AIRFLOW_3: Final = _Words("/api/v2/assets", "assets", "asset_events", "asset_id")
_AIRFLOW_2: Final = _Words("/api/v1/datasets", "datasets", "dataset_events", "dataset_id")


class AirflowApi:
    """
    A client of Airflow's REST API.

    :param conn_id: Connection with the host, and login and password, or a token in the password alone.
    :param transport: Replaces the network, for tests.
    """

    def __init__(self, conn_id: str, transport: httpx.AsyncBaseTransport | None = None) -> None:
        self._conn_id = conn_id
        self._transport = transport
        self._session: tuple[httpx.AsyncClient, _Words] | None = None

    async def aclose(self) -> None:
        """Close the connections."""
        session, self._session = self._session, None
        if session is not None:
            await session[0].aclose()

    async def assets(self) -> list[dict[str, Any]]:
        """Return the active assets: ``id``, ``uri``, ``extra``, and ``name`` on Airflow 3."""
        _, words = await self._open()
        return [row async for row in self._rows(words.path, words.assets, {})]

    async def events(self, asset_id: int, since: float) -> list[tuple[float, Mapping[str, Any]]]:
        """Return time (epoch seconds) and extra of the events of an asset, newest first."""
        _, words = await self._open()
        params = {words.number: asset_id, "order_by": "-timestamp"}
        found = []
        async for row in self._rows(f"{words.path}/events", words.events, params):
            made_at = datetime.fromisoformat(row["timestamp"]).timestamp()
            if made_at < since:
                break
            found.append((made_at, row.get("extra") or {}))
        return found

    async def create_event(self, asset_id: int, uri: str, extra: dict[str, Any]) -> None:
        """Create an event of an asset."""
        _, words = await self._open()
        named = {"asset_id": asset_id} if words is _AIRFLOW_3 else {"dataset_uri": uri}
        await self._request("POST", f"{words.path}/events", json=named | {"extra": extra})

    async def _rows(self, path: str, key: str, params: dict[str, Any]) -> AsyncIterator[dict[str, Any]]:
        for page in range(MAX_PAGES):
            asked = params | {"limit": PAGE, "offset": page * PAGE}
            rows = (await self._request("GET", path, params=asked)).get(key) or []
            for row in rows:
                yield row
            if len(rows) < PAGE:
                return

    async def _request(self, method: str, path: str, **arguments: Any) -> dict[str, Any]:
        """Send a request; if the token is refused, look up the connection and log in again, once."""
        http, _ = await self._open()
        answer = await http.request(method, path, **arguments)
        if answer.status_code in REFUSED:
            await self.aclose()
            http, _ = await self._open()
            answer = await http.request(method, path, **arguments)
        self._check(answer)
        value: dict[str, Any] = answer.json()
        return value

    def _check(self, answer: httpx.Response) -> None:
        if answer.status_code in REFUSED:
            raise PiktidConfigError(
                f"Airflow refuses connection {self._conn_id} (HTTP {answer.status_code}): correct its login and "
                "password, or its token, and let the user read assets and create asset events."
            )
        answer.raise_for_status()

    async def _open(self) -> tuple[httpx.AsyncClient, _Words]:
        if self._session is None:
            self._session = await self._connect()
        return self._session

    async def _connect(self) -> tuple[httpx.AsyncClient, _Words]:
        conn, _ = await async_connection(self._conn_id)
        url = _base_url(self._conn_id, conn)
        http = httpx.AsyncClient(base_url=url, timeout=REQUEST_SECONDS, transport=self._transport)
        try:
            is_3 = (await http.get("/api/v2/version")).is_success
            if conn.login and is_3:
                sent = {"username": conn.login, "password": conn.password or ""}
                answer = await http.post("/auth/token", json=sent)
                self._check(answer)
                http.headers["Authorization"] = f"Bearer {answer.json()['access_token']}"
            elif conn.login:
                http.auth = httpx.BasicAuth(conn.login, conn.password or "")
            elif conn.password:
                http.headers["Authorization"] = f"Bearer {conn.password}"
        except BaseException:
            await http.aclose()
            raise
        return http, _AIRFLOW_3 if is_3 else _AIRFLOW_2


def _base_url(conn_id: str, conn: Any) -> str:
    """Return the address of Airflow; a connection in the form of a URI has scheme and port in fields of their own."""
    host = (conn.host or "").strip().rstrip("/")
    if not host:
        raise PiktidConfigError(
            f"Connection {conn_id} has no host. Put the address of Airflow's API server there, such as "
            "https://airflow.example.com."
        )
    if "://" not in host:
        host = f"{conn.schema or 'http'}://{host}"
    return f"{host}:{conn.port}" if conn.port else host
