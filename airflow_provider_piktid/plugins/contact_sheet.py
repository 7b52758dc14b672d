# SPDX-License-Identifier: Apache-2.0
"""
The contact sheets of refreshes on Airflow's web server, for those who may read the XCom of their task.

The address names a task instance and a page, never a file: which sheet it is, the task has recorded in XCom. Some users
may write XCom, so what is recorded there must have the path of a sheet, and is shown as a page that can do nothing.
"""

from __future__ import annotations

import logging
from typing import Any, Final

from airflow.api_fastapi.auth.managers.models.resource_details import DagAccessEntity
from airflow.api_fastapi.core_api.security import requires_access_dag
from fastapi import Depends, FastAPI
from starlette.responses import PlainTextResponse, Response

from airflow_provider_piktid.files import storage
from airflow_provider_piktid.links import SHEET_PATH
from airflow_provider_piktid.refresh.contact_sheet import page_uri

#: A page has at most 5 MB.
MAX_BYTES: Final = 10_000_000

#: The page contains its pictures and its style; it runs nothing, loads nothing, sends nothing.
HEADERS: Final = {
    "Content-Security-Policy": (
        "default-src 'none'; img-src data:; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; "
        "frame-ancestors 'none'; sandbox"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "private, no-store",
}

log = logging.getLogger(__name__)


def contact_sheet_app() -> FastAPI:
    """Return an application with one route, which asks Airflow's auth manager as Airflow's own routes do."""
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    allowed = Depends(requires_access_dag("GET", DagAccessEntity.XCOM))
    app.get(SHEET_PATH, dependencies=[allowed], response_model=None)(contact_sheet)
    return app


def contact_sheet(dag_id: str, run_id: str, task_id: str, map_index: int, name: str) -> Response:
    """Answer with a page of the sheet that a task instance has written."""
    recorded = recorded_sheet(dag_id, run_id, task_id, map_index)
    uri = page_uri(recorded, name) if recorded else None
    if uri is None:
        return _not_found("This task instance has recorded no such contact sheet.")
    try:
        place = storage.locate(uri)
        with place.fs.open(place.path, "rb", block_size=storage.BLOCK_BYTES) as file:
            content = file.read(MAX_BYTES + 1)
    except Exception as error:  # noqa: BLE001 - of any store
        log.warning("The contact sheet %s cannot be read: %s", uri, type(error).__name__)
        return _not_found(
            f"Airflow's web server cannot read {uri} ({type(error).__name__}). Open it where it is."
        )
    if len(content) > MAX_BYTES:
        return _not_found(f"{uri} is too large. Open it where it is.")
    return Response(content, media_type="text/html; charset=utf-8", headers=HEADERS)


def recorded_sheet(dag_id: str, run_id: str, task_id: str, map_index: int) -> str | None:
    """Return the URI of the contact sheet in the summary that a task instance has pushed to XCom."""
    from airflow.models.xcom import XComModel
    from airflow.utils.session import create_session

    query = XComModel.get_many(
        run_id=run_id, key="summary", dag_ids=dag_id, task_ids=task_id, map_indexes=map_index
    )
    with create_session() as session:
        row = session.scalars(query).first()
        summary: Any = XComModel.deserialize_value(row) if row else None
    sheet = summary.get("contact_sheet") if isinstance(summary, dict) else None
    return sheet if isinstance(sheet, str) else None


def _not_found(text: str) -> Response:
    return PlainTextResponse(text, 404, headers=HEADERS)
