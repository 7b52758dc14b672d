# SPDX-License-Identifier: Apache-2.0
"""Regenerate failed images of a job."""

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
    Regenerate images of jobs, by default those that failed, and wait for the new versions.

    The cost is not documented, so no other operator does this: add this task after a swap explicitly. A retry
    attaches to the earlier requests. Download the outputs afterwards: the download uses the newest versions.

    :param job_ids: Jobs that have ended, as the swap returned them.
    :param images: Outputs to regenerate: each ``{"image_index"}``, with ``"group_index"`` (default 0) and, for
        several jobs, ``"job_id"``. Default: those that failed.
    :param fail_on_partial: Fail if an output fails again. Default: True, as the task exists to fix it.
    :param poll_interval: Seconds between two requests for the new versions, 3 or more. Default: 10.

    Further parameters are those of ``PaidOperator``.

    :return: ``job_ids``, unchanged. XCom key ``summary``: ``{"requested", "successful", "failed", "failures"}``.
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

    def _make_run(self, task: CurrentTask, hook: PiktidHook, client: PiktidClient) -> RegenerationRun:
        return RegenerationRun(
            job_id_list(self.job_ids, "make again"),
            self.images,
            self._terms(self.poll_interval),
            **self._parts(task, hook, client, STATE_KEY, RegenerationRecord.from_json),
        )
