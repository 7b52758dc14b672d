# SPDX-License-Identifier: Apache-2.0
"""One process's part of the promotion of a draft: from a start or a resume to the end or the next wait."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, ClassVar

from airflow_provider_piktid.common import metrics
from airflow_provider_piktid.common.paid import Terms
from airflow_provider_piktid.common.protocols import Finished, Step, Wait
from airflow_provider_piktid.common.records import fingerprint
from airflow_provider_piktid.exceptions import (
    PiktidConflictError,
    PiktidJobTimeout,
    PiktidNotFoundError,
    PiktidSubmissionError,
)
from airflow_provider_piktid.jobs.one_request import OneRequestRun
from airflow_provider_piktid.jobs.preprocessing import wait_until_preprocessed
from airflow_provider_piktid.jobs.promotion import Draft, Promotion, PromotionRecord, chosen_draft, drafts_of
from airflow_provider_piktid.jobs.watch import delete_notifications

if TYPE_CHECKING:
    from airflow_provider_piktid.common.events import JobEvent

#: Credits for the promotion of a draft. Source: PiktID's reference.
PROMOTION_CREDITS = 50.0
#: How much later than its job an identity may say that it is preprocessed.
SETTLING_SECONDS = 60.0
#: Key in the state of a wait that says that it is one of a promotion.
PROMOTING = "promoting"


class PromotionRun(OneRequestRun[PromotionRecord]):
    """
    What one process does of a task that promotes a draft.

    A request whose reply was lost is repeated, once it must have ended, because PiktID refuses to promote a draft twice
    and names its identity.

    :param draft: Number of the draft among those with a picture, from 0.
    :param name: Name of the identity; None: that of the job.
    :param job_ids: The jobs of the drafts. Default: not known yet, given to :meth:`begin`.
    :param argument: The operator's name for ``draft``, for messages.
    :param wait_for_preprocessing: Whether the work is done only when the identity is preprocessed.
    :param bought: Number and price of the drafts that this task pays for as well, for its limits. Default: none.
    :param parts: Those of :class:`OneRequestRun`.
    """

    pending: ClassVar[str] = "The draft is not promoted yet"

    def __init__(
        self,
        draft: int,
        name: str | None,
        terms: Terms,
        *,
        job_ids: list[str] | None = None,
        argument: str = "draft",
        wait_for_preprocessing: bool = False,
        bought: tuple[int, float] = (0, 0.0),
        **parts: Any,
    ) -> None:
        super().__init__(terms, parse=PromotionRecord.from_json, **parts)
        self._draft = draft
        self._name = name
        self._job_ids = job_ids
        self._argument = argument
        self._wait_for_preprocessing = wait_for_preprocessing
        self._bought = bought

    def begin(self, job_ids: list[str] | None = None, drafts: list[Draft] | None = None) -> Step:
        """
        Begin the work.

        :param drafts: Those of the jobs. Default: read from PiktID if they are needed.
        """
        self._open_record(job_ids or self._job_ids or [], drafts)
        return self._submit()

    def resume(self, event: JobEvent) -> Step:
        self.restore(event.resume_state)
        wanted = self._fingerprint(self._job_ids or self.record.jobs)
        self.require_same(self.record.fingerprint, wanted)
        event.raise_for_error()
        return self._preprocessed(event) if self.record.is_sent else self._after_room(event)

    # -- promoting ------------------------------------------------------------------------------------------

    def _fingerprint(self, job_ids: list[str]) -> str:
        return fingerprint({"connection": self._terms.connection, "jobs": job_ids, "draft": self._draft})

    def _open_record(self, job_ids: list[str], drafts: list[Draft] | None) -> None:
        wanted = self._fingerprint(job_ids)
        known = self.take_up(wanted)
        if known is not None:
            # One repeat for each try.
            known.item.resubmitted = False
            if known.is_sent:
                self.log.info("Identity %s was promoted before.", known.item.identity_code)
            return
        if drafts is None:
            drafts = drafts_of((job_id, self._client.get_job_results(job_id)) for job_id in job_ids)
        number = chosen_draft(drafts, self._draft, connection=self._terms.connection, argument=self._argument)
        outputs, price = self._bought
        self._terms.check_budget(outputs, outputs, price, more=PROMOTION_CREDITS)
        if self.other is not None and self.other.job_ids:
            self.log.warning(
                "Promoting another draft than before, which is identity %s.", self.other.job_ids[0]
            )
        self.warn_if_volatile()
        self.start(PromotionRecord(wanted, Promotion(number), job_ids))

    def send(self, item: Promotion) -> None:
        try:
            identity = self._client.promote_identity(item.image_result_id, name=self._name, wait=False)
        except PiktidNotFoundError as error:
            raise PiktidNotFoundError(
                f"{error} The draft may have been made again since: correct `{self._argument}`, or clear the task that "
                "made the drafts.",
                status=error.status,
            ) from error
        except PiktidConflictError as error:
            raise PiktidConflictError(
                f"{error} Pass another `name`, or none for that of the job.", status=error.status
            ) from error
        item.identity_code = identity.identity_code
        item.preprocessing_job_id = identity.preprocessing_job_id
        if identity.promoted_before:
            self.log.warning(
                "Draft %d was promoted before; this cost nothing. It is identity %s.",
                self._draft,
                identity.identity_code,
            )
            return
        metrics.count("promotions.submitted")
        self.log.info("Promoted draft %d to identity %s.", self._draft, identity.identity_code)

    def unknown(self, item: Promotion) -> PiktidSubmissionError:
        return PiktidSubmissionError(
            f"{self._terms.connection}: the replies to the promotion of draft {self._draft} were lost. It may or "
            "may not have been paid for. A retry asks again: PiktID promotes a draft once."
        )

    def label(self, item: Promotion) -> str:
        return f"the promotion of draft {self._draft}"

    # -- ending ---------------------------------------------------------------------------------------------

    def _sent(self) -> Step:
        item = self.record.item
        self._task.push("identity_code", item.identity_code)
        if not self._wait_for_preprocessing:
            return Finished(item.identity_code)
        job_id = item.preprocessing_job_id
        if job_id is None or self._client.get_identity_status(str(item.identity_code)).is_terminal:
            return self._end(self._terms.timeout)
        until = time.time() + self._terms.timeout
        return Wait(
            kind="jobs",
            arguments={
                "job_ids": [job_id],
                "piktid_conn_id": self._settings.conn_id,
                "poll_interval": self._terms.poll_interval,
                "end_time": until,
                "resume_state": self._state(),
            },
            until=until,
            message=f"Waiting for the preprocessing of identity {item.identity_code}.",
            here=lambda: self._waiter().watch([job_id], end_time=until).to_event(),
        )

    def _preprocessed(self, event: JobEvent) -> Finished:
        event.require("done", "timeout")
        if self._terms.delete_notifications and event.notification_ids:
            self._client.run(delete_notifications, event.notification_ids)
        if event.status == "timeout":
            raise PiktidJobTimeout(
                f"{self._terms.connection}: identity {self.record.item.identity_code} is not preprocessed after "
                f"{self._terms.timeout:g} s. It exists and is paid for; a retry waits for it again."
            )
        return self._end(min(self._terms.timeout, SETTLING_SECONDS))

    def _end(self, timeout: float) -> Finished:
        code = str(self.record.item.identity_code)
        wait_until_preprocessed(
            self._client,
            code,
            connection=self._terms.connection,
            timeout=timeout,
            poll_interval=self._terms.poll_interval,
        )
        return Finished(code)

    def _state(self) -> dict[str, Any]:
        return super()._state() | {PROMOTING: True}
