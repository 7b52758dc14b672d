# SPDX-License-Identifier: Apache-2.0
"""Buttons on the page of a task."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import BaseOperatorLink, XCom

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import BaseOperator, TaskInstanceKey

#: XCom key of the page to open. The worker works it out, since the link itself must not look up anything.
JOB_URL_KEY = "piktid_job_url"


class PiktidJobLink(BaseOperatorLink):
    """Opens the place where the task's last job can be looked at."""

    name = "PiktID job"

    def get_link(self, operator: BaseOperator, *, ti_key: TaskInstanceKey) -> str:
        """Return the address that the task left, or an empty text before it submitted anything."""
        value: Any = XCom.get_value(key=JOB_URL_KEY, ti_key=ti_key)
        return str(value or "")


#: XCom key of the contact sheet's address.
SHEET_URL_KEY = "piktid_contact_sheet"


class PiktidContactSheetLink(BaseOperatorLink):
    """Opens the page with before and after of a refresh."""

    name = "Contact sheet"

    def get_link(self, operator: BaseOperator, *, ti_key: TaskInstanceKey) -> str:
        """Return the address that the task left, or an empty text if there is no sheet."""
        value: Any = XCom.get_value(key=SHEET_URL_KEY, ti_key=ti_key)
        return str(value or "")
