# SPDX-License-Identifier: Apache-2.0
"""One process's part of a regeneration: from a start or a resume to the end or the next wait."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from airflow_provider_piktid.common import metrics
from airflow_provider_piktid.common.concurrency import run_bounded
from airflow_provider_piktid.common.events import JobEvent
from airflow_provider_piktid.common.paid import Terms
from airflow_provider_piktid.common.protocols import Finished, Step, Wait
from airflow_provider_piktid.common.records import fingerprint
from airflow_provider_piktid.exceptions import (
    PiktidJobTimeout,
    PiktidPartialResultError,
    PiktidSubmissionError,
)
from airflow_provider_piktid.jobs.outcome import MAX_FAILURES, READERS, is_downloadable
from airflow_provider_piktid.jobs.regeneration import (
    Regeneration,
    RegenerationRecord,
    chosen_outputs,
    failed_outputs,
    newest_results,
    requested_since,
    still_open,
    watch_results,
)
from airflow_provider_piktid.jobs.request_run import RequestRun
from airflow_provider_piktid.jobs.submission import CLOCK_SLACK_SECONDS

if TYPE_CHECKING:
    from airflow_provider_piktid.client import AsyncPiktidClient
    from airflow_provider_piktid.models.v2 import JobResults


class RegenerationRun(RequestRun[RegenerationRecord]):
    """
    What one process does of a task that lets outputs be made again.

    A request whose reply was lost has arrived if there is a new version.

    :param job_ids: Jobs that have ended.
    :param images: Outputs to make again; None: those that failed.
    :param parts: Those of :class:`RequestRun`.
    """

    def __init__(
        self, job_ids: list[str], images: Sequence[Mapping[str, Any]] | None, terms: Terms, **parts: Any
    ) -> None:
        super().__init__(terms, parse=RegenerationRecord.from_json, **parts)
        self._job_ids = job_ids
        self._images = images

    def begin(self) -> Step:
        self._open_record()
        return self._submit()

    def resume(self, event: JobEvent) -> Step:
        self.restore(event.resume_state, self._fingerprint())
        event.raise_for_error()
        if event.status == "done":
            return self._finish()
        if event.status == "slot" or self._unsent:
            return self._after_room(event)
        raise self._too_late()

    # -- requesting -----------------------------------------------------------------------------------------

    def _fingerprint(self) -> str:
        return fingerprint(
            {
                "connection": self._terms.connection,
                "jobs": self._job_ids,
                "images": [dict(image) for image in self._images] if self._images else None,
                "rerun_key": self._terms.rerun_key,
            }
        )

    def _open_record(self) -> None:
        wanted = self._fingerprint()
        known = self.take_up(wanted)
        if known is not None:
            self.log.info("Attaching to %d image(s) requested before.", len(known.items))
            return
        results = self._results(self._job_ids)
        items = chosen_outputs(results, self._images) if self._images else failed_outputs(results)
        if self._task.is_retry and self.other is None:
            items = self._adopt(items, results)
        unsent = sum(item.state == "planned" for item in items)
        self._terms.check_budget(unsent, unsent)
        if not items:
            self.log.info("No image of these jobs has failed: there is nothing to make again.")
        self.warn_if_volatile()
        self.start(RegenerationRecord(wanted, items))

    def _adopt(self, items: list[Regeneration], results: Mapping[str, JobResults]) -> list[Regeneration]:
        """Without a record an earlier try may have paid: versions that are newer than the DAG run are taken as its."""
        places = {item.place for item in items} if self._images else None
        sent, unclear = requested_since(results, self._task.run_began - CLOCK_SLACK_SECONDS, places)
        if unclear and self._terms.on_lost_reply == "fail":
            raise PiktidSubmissionError(
                f"{self._terms.connection}: an earlier try of this task left no record. It may have requested "
                f"{unclear[0].label}, and PiktID does not tell when its newest version was made. Look at the job; then "
                "set on_lost_reply='resubmit' to request it, and `state_path` to keep records from now on."
            )
        if sent:
            self.log.warning("Attaching to %d image(s) requested before, found at PiktID.", len(sent))
        taken = {item.place for item in sent}
        return [*sent, *(item for item in items if item.place not in taken)]

    @property
    def _items(self) -> list[Regeneration]:
        return self.record.items

    def _progress(self) -> str:
        return f"{self._unsent} of {len(self.record.items)} requests are not sent yet"

    def send(self, item: Regeneration) -> None:
        self._client.regenerate_image(item.job_id, item.image_index, group_index=item.group_index, wait=False)
        metrics.count("regenerations.submitted")
        self.log.info("Requested %s again.", item.label)

    def find(self, item: Regeneration) -> bool:
        newest = newest_results(self._results([item.job_id]).items())
        return item.place in newest and newest[item.place].version > item.version

    def unknown(self, item: Regeneration) -> PiktidSubmissionError:
        return PiktidSubmissionError(
            f"{self._terms.connection}: the reply to a request to make {item.label} again was lost, and there is no "
            "new version. It may or may not have been paid for. A retry looks again; on_lost_reply='resubmit' "
            "submits it once more."
        )

    def label(self, item: Regeneration) -> str:
        return item.label

    # -- waiting --------------------------------------------------------------------------------------------

    def _sent(self) -> Step:
        if self._is_done(self._results(self.record.job_ids)):
            return self._finish()
        until = time.time() + self._terms.timeout
        return Wait(
            kind="versions",
            arguments={
                "items": [asdict(item) for item in self.record.items],
                "piktid_conn_id": self._terms.connection,
                "poll_interval": self._terms.poll_interval,
                "end_time": until,
                "resume_state": self._state(),
            },
            until=until,
            message=f"Waiting for new versions of {len(self.record.items)} image(s).",
            here=lambda: JobEvent("done" if self._client.run(self._watch, until) else "timeout"),
        )

    def _is_done(self, results: Mapping[str, JobResults]) -> bool:
        return not still_open(self.record.items, newest_results(results.items()))

    async def _watch(self, _: AsyncPiktidClient, end_time: float) -> bool:
        from airflow_provider_piktid.hooks.piktid import async_client

        async def connect() -> AsyncPiktidClient:
            return async_client(self._settings, patient=False)

        return await watch_results(
            connect,
            self.record.job_ids,
            self._is_done,
            poll_interval=self._terms.poll_interval,
            end_time=end_time,
        )

    # -- ending ---------------------------------------------------------------------------------------------

    def _finish(self) -> Finished:
        newest = newest_results(self._results(self.record.job_ids).items())
        failed = [item for item in self.record.items if not is_downloadable(newest[item.place])]
        failures = [f"{item.label}: {newest[item.place].error_message or 'no output'}" for item in failed]
        summary = {
            "requested": len(self.record.items),
            "successful": len(self.record.items) - len(failed),
            "failed": len(failed),
            "failures": failures[:MAX_FAILURES],
        }
        self._task.push("summary", summary)
        self.log.info("%(successful)d of %(requested)d image(s) made again, %(failed)d failed.", summary)
        if failed:
            self._report(failures)
        return Finished(self._job_ids)

    def _report(self, failures: list[str]) -> None:
        text = f"{self._terms.connection}: {len(failures)} image(s) failed again ({'; '.join(failures[:5])})."
        if self._terms.fail_on_partial:
            raise PiktidPartialResultError(
                f"{text} Set `rerun_key` to another value to request them once more.",
                job_ids=tuple(self.record.job_ids),
            )
        self.log.warning(text)

    def _results(self, job_ids: list[str]) -> dict[str, JobResults]:
        async def fetch(api: AsyncPiktidClient) -> list[JobResults]:
            return await run_bounded(api.get_job_results, job_ids, READERS)

        return dict(zip(job_ids, self._client.run(fetch), strict=True))

    def _too_late(self) -> PiktidJobTimeout:
        return PiktidJobTimeout(
            f"{self._terms.connection}: not all of {len(self.record.items)} image(s) were made again within "
            f"{self._terms.timeout:g} s. PiktID continues with them; a retry waits for them again.",
            job_ids=tuple(self.record.job_ids),
        )
