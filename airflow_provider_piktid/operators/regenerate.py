# SPDX-License-Identifier: Apache-2.0
"""Make failed images of a job again."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Literal

from airflow.providers.common.compat.sdk import BaseOperator, conf

from airflow_provider_piktid.common import checks, records
from airflow_provider_piktid.common.events import JobEvent, is_downloadable
from airflow_provider_piktid.common.task import push, run_bounded, steer
from airflow_provider_piktid.exceptions import (
    PiktidConfigError,
    PiktidError,
    PiktidJobTimeout,
    PiktidPartialResultError,
    PiktidSubmissionError,
)
from airflow_provider_piktid.hooks.piktid import PiktidHook
from airflow_provider_piktid.jobs import waiting
from airflow_provider_piktid.jobs.regeneration import (
    STATE_KEY,
    Regeneration,
    RegenerationRecord,
    chosen_outputs,
    failed_outputs,
    newest_results,
    still_open,
)

if TYPE_CHECKING:
    from airflow_provider_piktid.client import AsyncPiktidClient, PiktidClient
    from airflow_provider_piktid.common.records import Store
    from airflow_provider_piktid.models.v2 import JobResults


class PiktidRegenerateOperator(BaseOperator):
    """
    Make images of jobs again, by default those that failed, and wait for the new versions.

    What this costs is not documented, so it never happens by itself: put this task behind a swap on purpose.
    A retry attaches to what was asked for before. Download afterwards: the newest versions are taken.

    :param job_ids: Jobs that have ended, as the swap returned them.
    :param images: Outputs to make again instead of the failed ones: each ``{"image_index"}``, with
        ``"group_index"`` (default 0) and, for several jobs, ``"job_id"``.
    :param max_images: Refuse to make more than this again. Default: no limit.
    :param fail_on_partial: Fail if an output failed again. Default True: repairing it was the purpose.
    :param deferrable: Wait in the triggerer. Default: ``[operators] default_deferrable``.
    :param poll_interval: Seconds between two looks, 3 or more. Default 10.
    :param timeout: Seconds to wait for the new versions. Default 3600.
    :param state_path: Folder for the record of what was asked for; see the model swap.
    :param generation: Any text; another value asks again.
    :param on_ambiguous: When a reply was lost and there is no new version: ``fail``, or ``resubmit`` once.
    :param piktid_conn_id: Connection id.
    :return: ``job_ids`` as given. XCom key ``summary``: ``{"requested", "successful", "failed", "failures"}``.
    :raises PiktidPartialResultError: Outputs failed again, and ``fail_on_partial`` is set.
    """

    template_fields: Sequence[str] = (
        "piktid_conn_id",
        "job_ids",
        "images",
        "max_images",
        "state_path",
        "generation",
    )
    ui_color = "#ece6ff"

    def __init__(
        self,
        *,
        job_ids: Sequence[str],
        images: Sequence[Mapping[str, Any]] | None = None,
        max_images: int | None = None,
        fail_on_partial: bool = True,
        deferrable: bool = conf.getboolean("operators", "default_deferrable", fallback=False),
        poll_interval: float = 10.0,
        timeout: float = 3600.0,
        state_path: str | None = None,
        generation: str | None = None,
        on_ambiguous: Literal["fail", "resubmit"] = "fail",
        piktid_conn_id: str = PiktidHook.default_conn_name,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.job_ids = job_ids
        self.images = images
        self.max_images = max_images
        self.fail_on_partial = fail_on_partial
        self.deferrable = deferrable
        self.poll_interval = poll_interval
        self.timeout = timeout
        self.state_path = state_path
        self.generation = generation
        self.on_ambiguous = on_ambiguous
        self.piktid_conn_id = piktid_conn_id

    def execute(self, context: Any) -> list[str]:
        with steer():
            checks.check_waiting(self.poll_interval, self.on_ambiguous)
            job_ids = self._checked_jobs()
            store = self._store(context)
            with PiktidHook(self.piktid_conn_id).get_conn() as client:
                record = self._open_record(store, client, job_ids)
                if not record.items:
                    self.log.info("No image of these jobs has failed: there is nothing to make again.")
                self._send_all(store, record, client)
                if record.items:
                    self._wait(record, client)
                return self._finish(context, client, record)

    def execute_complete(self, context: Any, event: Any) -> list[str]:
        """Judge the new versions after the wait."""
        with steer():
            answer = JobEvent.from_json(event, expected=("done", "timeout", "error"))
            if answer.status == "error":
                raise waiting.event_error(answer)
            record = self._store(context).load() or RegenerationRecord.from_json(answer.carry.get("record"))
            if answer.status == "timeout":
                raise self._too_late(record)
            with PiktidHook(self.piktid_conn_id).get_conn() as client:
                return self._finish(context, client, record)

    # -- steps ----------------------------------------------------------------------------------------------

    def _checked_jobs(self) -> list[str]:
        ids = [self.job_ids] if isinstance(self.job_ids, str) else list(self.job_ids or [])
        if not ids:
            raise PiktidConfigError(
                "job_ids is empty: there is nothing to make again. Give the swap's job ids."
            )
        return [str(job_id) for job_id in dict.fromkeys(ids)]

    def _store(self, context: Any) -> Store[RegenerationRecord]:
        return records.choose_store(context, self.state_path, STATE_KEY, RegenerationRecord.from_json)

    def _open_record(
        self, store: Store[RegenerationRecord], client: PiktidClient, job_ids: list[str]
    ) -> RegenerationRecord:
        parts = {"jobs": job_ids, "images": self.images, "generation": self.generation}
        wanted = records.fingerprint(parts | {"connection": self.piktid_conn_id})
        known = store.load()
        if known is not None and known.fingerprint == wanted:
            self.log.info("Attaching to %d image(s) asked for before.", len(known.items))
            return known
        results = self._results(client, job_ids)
        items = chosen_outputs(results, self.images) if self.images else failed_outputs(results)
        checks.check_budget(
            self.piktid_conn_id,
            images=len(items),
            outputs=len(items),
            max_images=self.max_images,
            max_credits=None,
            credits_per_output=0,
        )
        return RegenerationRecord(wanted, items)

    def _send_all(
        self, store: Store[RegenerationRecord], record: RegenerationRecord, client: PiktidClient
    ) -> None:
        for item in record.items:
            if item.state == "intent":
                self._resolve(item, client)
            while item.state == "planned":
                item.state = "intent"
                store.save(record)
                self._send(store, record, item, client)
        store.save(record)

    def _send(
        self,
        store: Store[RegenerationRecord],
        record: RegenerationRecord,
        item: Regeneration,
        client: PiktidClient,
    ) -> None:
        try:
            client.regenerate_image(item.job_id, item.image_index, group_index=item.group_index)
        except PiktidSubmissionError:
            self._resolve(item, client)
            return
        except PiktidError:
            item.state = "planned"
            store.save(record)
            raise
        item.state = "sent"
        self.log.info("Asked for %s again.", item.label)

    def _resolve(self, item: Regeneration, client: PiktidClient) -> None:
        """Find out whether a request whose reply was lost has arrived: then there is a new version."""
        newest = newest_results(self._results(client, [item.job_id]).items())
        if item.place in newest and newest[item.place].version > item.version:
            item.state = "sent"
        elif self.on_ambiguous == "resubmit" and not item.resubmitted:
            item.state, item.resubmitted = "planned", True
            self.log.warning("No new version of %s after a lost reply; asking again as told.", item.label)
        else:
            raise PiktidSubmissionError(
                f"{self.piktid_conn_id}: the reply to a request to make {item.label} again was lost, and there is "
                "no new version. It may have been paid for or not. A retry looks again; on_ambiguous='resubmit' "
                "asks once more."
            )

    def _wait(self, record: RegenerationRecord, client: PiktidClient) -> None:
        results = self._results(client, record.job_ids)
        if not still_open(record.items, newest_results(results.items())):
            return
        end_time = time.time() + self.timeout
        if self.deferrable:
            from airflow_provider_piktid.triggers.regenerate import PiktidRegenerateTrigger

            self.defer(
                trigger=PiktidRegenerateTrigger(
                    items=[asdict(item) for item in record.items],
                    piktid_conn_id=self.piktid_conn_id,
                    poll_interval=self.poll_interval,
                    end_time=end_time,
                    carry={"record": record.to_json()},
                ),
                method_name="execute_complete",
                timeout=waiting.framework_timeout(end_time),
            )
        if not client.run(self._watch, record, end_time):
            raise self._too_late(record)

    async def _watch(self, _: AsyncPiktidClient, record: RegenerationRecord, end_time: float) -> bool:
        from airflow_provider_piktid.jobs.versions import watch_results

        return await watch_results(
            lambda: PiktidHook(self.piktid_conn_id).aget_client(patient=False),
            record.job_ids,
            lambda results: not still_open(record.items, newest_results(results.items())),
            poll_interval=self.poll_interval,
            end_time=end_time,
        )

    def _finish(self, context: Any, client: PiktidClient, record: RegenerationRecord) -> list[str]:
        newest = newest_results(self._results(client, record.job_ids).items())
        failed = [item for item in record.items if not is_downloadable(newest[item.place])]
        failures = [f"{item.label}: {newest[item.place].error_message or 'no output'}" for item in failed]
        summary = {
            "requested": len(record.items),
            "successful": len(record.items) - len(failed),
            "failed": len(failed),
            "failures": failures[:50],
        }
        push(context, "summary", summary)
        self.log.info("%(successful)d of %(requested)d image(s) made again, %(failed)d failed.", summary)
        if failed:
            text = f"{self.piktid_conn_id}: {len(failed)} image(s) failed again ({'; '.join(failures[:5])})."
            if self.fail_on_partial:
                raise PiktidPartialResultError(
                    f"{text} Set `generation` to another value to ask once more.",
                    job_ids=tuple(record.job_ids),
                )
            self.log.warning(text)
        return self._checked_jobs()

    def _results(self, client: PiktidClient, job_ids: list[str]) -> dict[str, JobResults]:
        async def fetch(api: AsyncPiktidClient) -> list[JobResults]:
            return await run_bounded(api.get_job_results, job_ids, 8)

        return dict(zip(job_ids, client.run(fetch), strict=True))

    def _too_late(self, record: RegenerationRecord) -> PiktidJobTimeout:
        return PiktidJobTimeout(
            f"{self.piktid_conn_id}: not all of {len(record.items)} image(s) were made again within "
            f"{self.timeout:g} s. They go on at PiktID; a retry waits for them again.",
            job_ids=tuple(record.job_ids),
        )
