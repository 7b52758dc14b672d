# SPDX-License-Identifier: Apache-2.0
"""Operator links: buttons on the page of a task."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from airflow.providers.common.compat.sdk import BaseOperatorLink, XCom

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import BaseOperator, TaskInstanceKey

#: XCom keys of the pages. The worker computes the URLs, as a link must not make requests.
JOB_URL_KEY = "piktid_job_url"
SHEET_URL_KEY = "piktid_contact_sheet"


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
