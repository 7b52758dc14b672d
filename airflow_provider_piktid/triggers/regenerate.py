# SPDX-License-Identifier: Apache-2.0
"""Wait for new versions of outputs without a worker."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from airflow_provider_piktid.common.events import JobEvent
from airflow_provider_piktid.triggers.job import JobWaitTrigger


class PiktidRegenerateTrigger(JobWaitTrigger):
    """
    Wait until outputs that were asked for again have a new version that has ended.

    Polls the jobs' results. Gives one event: ``done``, ``timeout`` or ``error``.

    :param items: Outputs, each with ``job_id``, ``image_index``, ``group_index`` and the ``version`` before.
    :param piktid_conn_id: Connection id.
    :param poll_interval: Seconds between two looks. Default 10.
    :param end_time: Deadline, epoch seconds.
    :param carry: Handed back in the event, as it is. JSON only, no secrets.
    """

    def __init__(
        self,
        items: Sequence[dict[str, Any]],
        piktid_conn_id: str = "piktid_default",
        poll_interval: float = 10.0,
        end_time: float | None = None,
        carry: dict[str, Any] | None = None,
    ) -> None:
        super().__init__()
        self.items = [dict(item) for item in items]
        self.job_ids = list(dict.fromkeys(str(item["job_id"]) for item in items))
        self.piktid_conn_id = piktid_conn_id
        self.poll_interval = poll_interval
        self.end_time = end_time
        self.submitted_at = {}
        self.carry = dict(carry or {})

    def serialize(self) -> tuple[str, dict[str, Any]]:
        return (
            "airflow_provider_piktid.triggers.regenerate.PiktidRegenerateTrigger",
            {
                "items": self.items,
                "piktid_conn_id": self.piktid_conn_id,
                "poll_interval": self.poll_interval,
                "end_time": self.end_time,
                "carry": self.carry,
            },
        )

    async def _event(self) -> JobEvent:
        from airflow_provider_piktid.hooks.piktid import PiktidHook
        from airflow_provider_piktid.jobs.regeneration import Regeneration, newest_results, still_open
        from airflow_provider_piktid.jobs.versions import watch_results

        items = [Regeneration(**item) for item in self.items]
        hook = PiktidHook(self.piktid_conn_id)
        done = await watch_results(
            lambda: hook.aget_client(patient=False),
            self.job_ids,
            lambda results: not still_open(items, newest_results(results.items())),
            poll_interval=self.poll_interval,
            end_time=self.end_time if self.end_time is not None else float("inf"),
        )
        return JobEvent("done" if done else "timeout")
