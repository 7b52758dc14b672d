# SPDX-License-Identifier: Apache-2.0
"""An Airflow plugin of ``demo ui``: the API server handles one writing request at a time."""

from __future__ import annotations

import asyncio
from typing import Any

from airflow.plugins_manager import AirflowPlugin

WRITING = frozenset({"POST", "PUT", "PATCH", "DELETE"})


class OneWriter:
    """
    Let one writing request at a time through to the application; others wait, also those of tasks.

    Airflow 3 writes its audit log on the event loop. If SQLite is locked then by another request, whose transaction
    only the event loop can end, both wait until SQLite gives up: "database is locked", answered as 500.
    """

    def __init__(self, app: Any) -> None:
        self._app = app
        self._lock = asyncio.Lock()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http" or scope["method"] not in WRITING:
            await self._app(scope, receive, send)
            return
        async with self._lock:
            await self._app(scope, receive, send)


class PiktidDemoPlugin(AirflowPlugin):
    """Registers the middleware."""

    name = "piktid_demo"
    fastapi_root_middlewares = [{"middleware": OneWriter, "args": [], "kwargs": {}, "name": "one writer"}]  # noqa: RUF012
