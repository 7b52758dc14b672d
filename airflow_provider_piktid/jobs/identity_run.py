# SPDX-License-Identifier: Apache-2.0
"""One process's part of a new identity: drafts, and then the promotion of one of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow_provider_piktid.common.protocols import Finished, Step
from airflow_provider_piktid.jobs.promotion import drafts_of
from airflow_provider_piktid.jobs.promotion_run import PROMOTING, PromotionRun

if TYPE_CHECKING:
    from airflow_provider_piktid.client import PiktidClient
    from airflow_provider_piktid.common.events import JobEvent
    from airflow_provider_piktid.common.records import CurrentTask
    from airflow_provider_piktid.jobs.run import JobRun


class IdentityRun:
    """
    What one process does of a task that creates an identity.

    Drafts and promotion have a record each, so that a retry pays for neither of them twice, and another choice of the
    draft buys no drafts.

    :param promotion: None: the drafts are all that is wanted.
    :param wait_for_completion: False: the work is done once the drafts are requested.
    """

    def __init__(
        self,
        drafts: JobRun,
        promotion: PromotionRun | None,
        *,
        task: CurrentTask,
        client: PiktidClient,
        wait_for_completion: bool = True,
    ) -> None:
        self._drafts = drafts
        self._promotion = promotion
        self._wait_for_completion = wait_for_completion
        self._task = task
        self._client = client
        self._promoting = False

    @property
    def outstanding(self) -> list[str]:
        return [] if self._promoting else self._drafts.outstanding

    def begin(self) -> Step:
        return self._go_on(self._drafts.begin())

    def resume(self, event: JobEvent) -> Step:
        if self._promotion is not None and (self._promoting or event.resume_state.get(PROMOTING)):
            self._promoting = True
            return self._with_job_ids(self._promotion, self._promotion.resume(event))
        return self._go_on(self._drafts.resume(event))

    def leave(self) -> None:
        self._drafts.leave()

    def _go_on(self, step: Step) -> Step:
        """Publish the drafts once they are there, and promote one of them."""
        if not isinstance(step, Finished) or not self._wait_for_completion:
            return step
        drafts = drafts_of((job_id, self._client.get_job_results(job_id)) for job_id in step.result)
        self._task.push("drafts", [draft.to_json() for draft in drafts])
        if self._promotion is None:
            return step
        self._promoting = True
        return self._with_job_ids(self._promotion, self._promotion.begin(step.result, drafts))

    @staticmethod
    def _with_job_ids(promotion: PromotionRun, step: Step) -> Step:
        return Finished(promotion.record.jobs) if isinstance(step, Finished) else step
