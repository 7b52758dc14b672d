# SPDX-License-Identifier: Apache-2.0
"""Operator links: buttons on the page of a task."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar
from urllib.parse import quote, urlsplit

from airflow import __version__ as airflow_version
from airflow.providers.common.compat.sdk import BaseOperatorLink, XCom, conf

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import BaseOperator, TaskInstanceKey

#: XCom keys of the pages. The worker computes the URLs, as a link must not make requests.
JOB_URL_KEY = "piktid_job_url"
SHEET_URL_KEY = "piktid_contact_sheet"

#: Where the plugin serves contact sheets on the API server, and the path of a page below it.
SHEET_PREFIX = "/piktid-contact-sheet"
SHEET_PATH = "/dags/{dag_id}/runs/{run_id:path}/tasks/{task_id}/{map_index}/{name}"


def sheet_page(ti: Any, name: str) -> str | None:
    """
    Return the address of a task instance's contact sheet on Airflow's own web server.

    None before Airflow 3.1, whose browser pages do not identify the user to a plugin.

    :param name: Name of the sheet's file.
    """
    if tuple(int(part) for part in airflow_version.split(".")[:2]) < (3, 1):
        return None
    root = urlsplit(conf.get("api", "base_url", fallback="") or "").path.rstrip("/")
    run_id, task_id = quote(ti.run_id, safe=""), quote(ti.task_id, safe="")
    dag_id, map_index = quote(ti.dag_id, safe=""), getattr(ti, "map_index", -1)
    return f"{root}{SHEET_PREFIX}/dags/{dag_id}/runs/{run_id}/tasks/{task_id}/{map_index}/{name}"


class _XComLink(BaseOperatorLink):
    """A link to the URL that the task pushed to XCom."""

    key: ClassVar[str]

    def get_link(self, operator: BaseOperator, *, ti_key: TaskInstanceKey) -> str:
        """Return the URL, or an empty string if the task has not pushed one."""
        value: Any = XCom.get_value(key=self.key, ti_key=ti_key)
        return str(value or "")


class PiktidJobLink(_XComLink):
    """Opens the page of the task's last job."""

    name = "PiktID job"
    key = JOB_URL_KEY


class PiktidContactSheetLink(_XComLink):
    """Opens the contact sheet of a refresh."""

    name = "Contact sheet"
    key = SHEET_URL_KEY
