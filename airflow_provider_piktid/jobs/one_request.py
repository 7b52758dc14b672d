# SPDX-License-Identifier: Apache-2.0
"""Paid work that is one request: what a promotion and an extraction have in common."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, TypeVar

from airflow_provider_piktid.common.records import PaidRecord
from airflow_provider_piktid.jobs.request_run import RequestRun


@dataclass
class OneRequestRecord(PaidRecord):
    """The record of one request, a ``PaidRequest``."""

    item: Any

    @property
    def is_sent(self) -> bool:
        return bool(self.item.state == "submitted")


R = TypeVar("R", bound=OneRequestRecord)


class OneRequestRun(RequestRun[R]):
    """
    What one process does of a task that pays for one request.

    PiktID lists nothing that shows what became of a lost reply.
    """

    #: What is waited for, for messages.
    pending: ClassVar[str]

    @property
    def _items(self) -> list[Any]:
        return [self.record.item]

    def _progress(self) -> str:
        return self.pending

    def find(self, item: Any) -> bool:
        return False
