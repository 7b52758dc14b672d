# SPDX-License-Identifier: Apache-2.0
"""Make failed images of a job again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from airflow_provider_piktid.common.records import CurrentTask
from airflow_provider_piktid.hooks.piktid import PiktidHook
from airflow_provider_piktid.jobs.outcome import job_id_list
from airflow_provider_piktid.jobs.regeneration import STATE_KEY, RegenerationRecord
from airflow_provider_piktid.jobs.regeneration_run import RegenerationRun
from airflow_provider_piktid.operators.base import PaidOperator

if TYPE_CHECKING:
    from airflow_provider_piktid.client import PiktidClient


class PiktidRegenerateOperator(PaidOperator):
    """
    Make images of jobs again, by default those that failed, and wait for the new versions.

    What this costs is not documented, so it never happens by itself: put this task behind a swap on purpose.
    A retry attaches to what was requested before. Download afterwards: the newest versions are taken.

    :param job_ids: Jobs that have ended, as the swap returned them.
    :param images: Outputs to make again instead of the failed ones: each ``{"image_index"}``, with
        ``"group_index"`` (default 0) and, for several jobs, ``"job_id"``.
    :param fail_on_partial: Fail if an output failed again. Default: True, since repairing it was the purpose.

    :param poll_interval: Seconds between two requests for the new versions, 3 or more. Default: 10.

    Further parameters are those of ``PaidOperator``.

    :return: ``job_ids`` as given. XCom key ``summary``: ``{"requested", "successful", "failed", "failures"}``.
    :raises PiktidPartialResultError: Outputs failed again, and ``fail_on_partial`` is set.
    """

    template_fields: Sequence[str] = (*PaidOperator.template_fields, "job_ids", "images")

    def __init__(
        self,
        *,
        job_ids: Sequence[str],
        images: Sequence[Mapping[str, Any]] | None = None,
        fail_on_partial: bool = True,
        poll_interval: float = 10.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(fail_on_partial=fail_on_partial, **kwargs)
        self.job_ids = job_ids
        self.images = images
        self.poll_interval = poll_interval

    def _open_client(self, hook: PiktidHook) -> PiktidClient:
        return hook.get_conn()

    def _make_run(self, task: CurrentTask, hook: PiktidHook, client: PiktidClient) -> RegenerationRun:
        return RegenerationRun(
            job_id_list(self.job_ids, "make again"),
            self.images,
            self._terms(self.poll_interval),
            task=task,
            settings=hook.settings,
            client=client,
            store=task.open_store(self.state_path, STATE_KEY, RegenerationRecord.from_json),
            log=self.log,
        )
