# SPDX-License-Identifier: Apache-2.0
"""Wait for new versions of outputs in the triggerer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from airflow_provider_piktid.common.events import JobEvent
from airflow_provider_piktid.triggers.job import WaitTrigger


class PiktidRegenerateTrigger(WaitTrigger):
    """
    Wait until regenerated outputs have a new version that has ended.

    Polls the results of the jobs. Sends one event: ``done``, ``timeout`` or ``error``.

    :param items: Outputs, each with ``job_id``, ``image_index``, ``group_index`` and the previous ``version``.
    :param piktid_conn_id: Connection id. Default: ``piktid_default``.
    :param poll_interval: Seconds between two requests. Default: 10.
    :param end_time: Deadline, epoch seconds. Default: none.
    :param resume_state: Returned unchanged in the event. JSON only, no secrets. Default: none.
    """

    items: Sequence[Mapping[str, Any]]
    poll_interval: float
    end_time: float | None

    def __init__(
        self,
        items: Sequence[Mapping[str, Any]],
        piktid_conn_id: str = "piktid_default",
        poll_interval: float = 10.0,
        end_time: float | None = None,
        resume_state: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(
            items=items,
            piktid_conn_id=piktid_conn_id,
            poll_interval=poll_interval,
            end_time=end_time,
            resume_state=resume_state,
        )

    async def _event(self) -> JobEvent:
        from airflow_provider_piktid.hooks.piktid import PiktidHook
        from airflow_provider_piktid.jobs.regeneration import (
            Regeneration,
            newest_results,
            still_open,
            watch_results,
        )

        items = [Regeneration(**item) for item in self.items]
        hook = PiktidHook(self.piktid_conn_id)
        done = await watch_results(
            lambda: hook.aget_client(patient=False),
            list(dict.fromkeys(item.job_id for item in items)),
            lambda results: not still_open(items, newest_results(results.items())),
            poll_interval=float(self.poll_interval),
            end_time=float(self.end_time) if self.end_time is not None else float("inf"),
        )
        return JobEvent("done" if done else "timeout")

    def _outstanding(self) -> list[str]:
        return list(dict.fromkeys(str(item["job_id"]) for item in self.items))
