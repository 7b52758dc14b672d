# SPDX-License-Identifier: Apache-2.0
"""The part of a person generation that one process does: from a start or resume to the end or the next wait."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from airflow_provider_piktid.common.events import JobEvent
from airflow_provider_piktid.common.paid import PaidRequests, RecordedWork, Terms
from airflow_provider_piktid.common.protocols import Finished, Step, Wait
from airflow_provider_piktid.common.records import Store, fingerprint
from airflow_provider_piktid.exceptions import (
    PiktidConfigError,
    PiktidDownloadError,
    PiktidNotFoundError,
    PiktidSubmissionError,
)
from airflow_provider_piktid.files import storage
from airflow_provider_piktid.person.arguments import PersonArguments, choose_persons, faces_of
from airflow_provider_piktid.person.batch import PersonBatch, PersonPort
from airflow_provider_piktid.person.collect import Collector, delete_ids
from airflow_provider_piktid.person.matching import AwaitedGeneration, Findings, match
from airflow_provider_piktid.person.outcome import raise_for_outcome, result_rows, summary
from airflow_provider_piktid.person.poller import PollRequest, poll_here, seconds_to_next
from airflow_provider_piktid.person.record import Generation, PersonRecord

if TYPE_CHECKING:
    from airflow_provider_piktid.client import PiktidV1Client
    from airflow_provider_piktid.common.records import CurrentTask
    from airflow_provider_piktid.hooks.piktid import PiktidSettings
    from airflow_provider_piktid.models.v1 import PersonNotification

#: PiktID deletes pictures after 24 hours; one that is nearly as old is uploaded again.
TARGET_MARGIN_SECONDS = 3600.0

#: Fingerprint of the record of a try that has not paid for anything yet.
NOTHING_PAID = ""


class PersonRun(RecordedWork[PersonRecord]):
    """
    Generates persons within one process of a task.

    :param arguments: The checked arguments of the operator.
    """

    def __init__(
        self,
        arguments: PersonArguments,
        terms: Terms,
        *,
        task: CurrentTask,
        settings: PiktidSettings,
        client: PiktidV1Client,
        store: Store[PersonRecord],
        log: Any,
    ) -> None:
        super().__init__(store, PersonRecord.from_json, log)
        self._arguments = arguments
        self._source = arguments.source
        self._terms = terms
        self._task = task
        self._settings = settings
        self._client = client
        self._batch: PersonBatch | None = None
        #: Findings of a wait on this worker, so that the notifications are not listed again.
        self._findings: Findings | None = None
        #: When this task or its trigger last listed the notifications: PiktID allows one request in three seconds.
        self._listed_at = 0.0

    @property
    def outstanding(self) -> list[str]:
        return [item.label for item in self.record.outstanding] if self.has_record else []

    def begin(self) -> Step:
        self._arguments.check_folder()
        known, now = self.store.load(), time.time()
        blind = self._is_blind(known)
        if blind and not self._source.id_image:
            # PiktID has no list of the pictures that an earlier try uploaded, so there is nothing to look for.
            self._refuse_blind_retry()
            blind = False
        if known is None and not blind:
            self._save_start(now)
        self._source = self._source.read()
        digest = self._fingerprint()
        if self.take_up(digest) is None:
            if self.other is not None and self.other.job_ids:
                self.log.warning("The input differs from that of the earlier paid requests; paying again.")
            self.start(PersonRecord(digest, now, id_image=self._source.id_image))
        self.warn_if_volatile()
        self._plan(now, blind=blind)
        return self._proceed()

    def resume(self, event: JobEvent) -> Step:
        self.restore(event.resume_state)
        self._listed_at = max(self._listed_at, float(event.resume_state.get("listed_at") or 0.0))
        self.require_same(self.record.arguments, self._arguments.digest)
        event.raise_for_error()
        findings, self._findings = self._findings, None
        if findings is not None:
            self._collect(findings)
        else:
            self.record.note_unnamed([event.message] if event.message else [])
            self._collect_ended(event.ended)
        return self._proceed()

    def leave(self) -> None:
        """Do nothing: results are published at the end."""

    # -- beginning ------------------------------------------------------------------------------------------

    def _fingerprint(self) -> str:
        return fingerprint(
            {
                "connection": self._terms.connection,
                "image": self._source.identity,
                "options": self._arguments.options,
                "rerun_key": self._terms.rerun_key,
            }
        )

    def _plan(self, now: float, *, blind: bool) -> None:
        """
        Decide what to generate, and look for what earlier tries paid for.

        :param blind: An earlier try may have paid for any of it: each generation is looked for like one whose reply
            was lost.
        """
        record = self.record
        record.attached_at, record.refused_for_good, record.unnamed_errors = now, False, []
        record.arguments = self._arguments.digest
        if record.id_image is None and record.faces is None:
            self._upload()
        elif self._source.id_image and not record.job_ids:
            self._read_faces(ours_since=self._task.run_began if blind else math.inf)
        persons, blurry = choose_persons(
            self._arguments.persons,
            record.faces,
            fail_unusable=self._arguments.unusable == "fail",
        )
        if blurry:
            self.log.warning("Skipping persons %s: their faces are too blurry for PiktID.", blurry)
        record.plan(persons, self._arguments.keywords)
        if blind:
            record.assume_paid(now)
        self._take_up(now)
        count = len(record.in_state("planned"))
        self._terms.check_budget(count, count)
        self.save()

    def _take_up(self, now: float) -> None:
        """Look for the results of earlier paid requests, and plan again what certainly has none."""
        record = self.record
        self._check_files()
        if record.job_ids:
            self.log.info("Attaching to %d generation(s) of an earlier try.", len(record.job_ids))
        # A failed one is looked for as well: the error may have been about another request.
        looked_for = [*record.outstanding, *record.in_state("failed", "expired")]
        findings = Findings()
        if looked_for:
            findings = self._list_findings(looked_for)
            self._collect(findings)
        for item in record.in_state("failed", "refused", "expired"):
            if item.label not in findings.found:
                self.log.info("Requesting %s again: %s.", item.label, item.error)
                item.plan_again()
        if record.uploaded_at and now > record.uploaded_at + _target_seconds() - TARGET_MARGIN_SECONDS:
            record.id_image = None

    def _check_files(self) -> None:
        for item in self.record.in_state("done"):
            location = storage.locate(item.file) if item.file else None
            if location is not None and not location.fs.exists(location.path):
                error = PiktidDownloadError(
                    f"{item.file} was downloaded by an earlier try and no longer exists. Restore it, or set "
                    "`rerun_key` to a new value to pay for everything again."
                )
                error.permanent = True
                raise error

    def _is_blind(self, known: PersonRecord | None) -> bool:
        """
        Tell whether an earlier try may have paid and left no record where this one looks.

        A folder keeps what was written. A clear may drop the task state store, and without a store nothing is kept.
        """
        return known is None and self._task.is_retry and not self.store.survives_clear

    def _refuse_blind_retry(self) -> None:
        if self._terms.on_lost_reply != "fail":
            return
        error = PiktidSubmissionError(
            f"{self._terms.connection}: an earlier try of this task may have paid and left no record. Look at the "
            "account's results; then set on_lost_reply='resubmit' to pay again. Set `state_path` or `output_path`, "
            "where a record survives retries and clears."
        )
        error.permanent = True
        raise error

    def _save_start(self, now: float) -> None:
        """Save that nothing was paid so far, so that a retry after a failure before the first request may pay."""
        if not self.store.survives_clear:
            self.store.save(PersonRecord(NOTHING_PAID, now))

    def _upload(self) -> None:
        if self._source.id_image:
            raise PiktidConfigError(
                f"{self._terms.connection}: PiktID keeps pictures for 24 hours, and id_image is older or "
                "unknown. Pass the picture itself as image."
            )
        self._source = self._source.read()
        # Taken before the upload, so that the picture is never older than assumed.
        uploaded_at = time.time()
        target = self._client.upload_target(
            self._source.content, filename=self._source.filename, url=self._source.url
        )
        self.record.faces = faces_of(target)
        self.record.id_image, self.record.uploaded_at = target.id_image, uploaded_at
        self.log.info("Uploaded the picture; PiktID found %d person(s).", len(self.record.faces))

    def _read_faces(self, *, ours_since: float) -> None:
        """
        Get the persons in a picture that was uploaded before, and ignore older notifications about it.

        :param ours_since: Epoch seconds from which a notification about the picture is one of this task.
        """
        try:
            self.record.faces = faces_of(self._client.get_image(self._source.id_image or ""))
        except PiktidNotFoundError as error:
            # Either the picture or the whole endpoint is unknown; the paid request will show which.
            self.log.warning("PiktID does not return the persons in the picture: %s", error)
        self.record.used = [
            item.identity
            for item in self._list_notifications()
            if item.id_image == self._source.id_image and (item.timestamp or 0.0) < ours_since
        ]

    # -- requesting -----------------------------------------------------------------------------------------

    def _proceed(self) -> Step:
        """Send as many requests as possible now; then wait, or finish."""
        batch, now = self._open_batch(), time.time()
        wait = batch.advance(now)
        resume_at = wait.not_before if wait else None
        patience = self._terms.queue_timeout + self._arguments.stagger
        if resume_at is not None and resume_at > self.record.attached_at + patience:
            self._give_up_sending()
            resume_at = None
        awaited = batch.waiting(now)
        if resume_at is None and not awaited:
            return self._finish()
        end_time = min((batch.deadline(item) for item in awaited), default=None)
        return self._wait([AwaitedGeneration.of(item) for item in awaited], resume_at, end_time)

    def _open_batch(self) -> PersonBatch:
        if self._batch is None:
            port = PersonPort(
                self.record,
                self._client,
                stagger=self._arguments.stagger,
                options=self._arguments.options,
                upload=self._upload,
                log=self.log,
            )
            requests: PaidRequests[Generation] = PaidRequests(
                self.record.generations, port, self._terms, save=self.save, log=self.log
            )
            self._batch = PersonBatch(self.record, self._terms, requests, save=self.save)
        return self._batch

    def _give_up_sending(self) -> None:
        for item in self.record.in_state("planned"):
            item.state = "refused"
            item.error = f"the rate limit of the account was reached for {self._terms.queue_timeout:g} s"
        self.save()

    def _wait(
        self, awaited: list[AwaitedGeneration], resume_at: float | None, end_time: float | None
    ) -> Wait:
        state = {"record": self.record.to_json(), "listed_at": self._listed_at}
        return Wait(
            kind="generations",
            arguments={
                "awaited": [item.to_json() for item in awaited],
                "piktid_conn_id": self._terms.connection,
                "used": self.record.used,
                "resume_at": resume_at,
                "end_time": end_time,
                "listed_at": self._listed_at,
                "resume_state": state,
            },
            until=max(moment for moment in (resume_at, end_time) if moment is not None),
            message=f"Waiting for {len(awaited)} generation(s).",
            here=lambda: self._wait_here(awaited, resume_at, end_time),
        )

    def _wait_here(
        self, awaited: list[AwaitedGeneration], resume_at: float | None, end_time: float | None
    ) -> JobEvent:
        if not awaited:
            time.sleep(max(0.0, (resume_at or 0.0) - time.time()))
            return JobEvent("slot")
        request = PollRequest(
            awaited,
            used=frozenset(self.record.used),
            resume_at=resume_at,
            end_time=end_time if end_time is not None else float("inf"),
            listed_at=self._listed_at,
        )
        result = poll_here(self._client, self._settings, request)
        self._findings, self._listed_at = result.findings, result.listed_at
        return JobEvent("done")

    # -- collecting -----------------------------------------------------------------------------------------

    def _collect_ended(self, ended: Mapping[str, str]) -> None:
        """Collect the results of a trigger event. It contains no links, so the notifications are listed again."""
        if not ended:
            return
        findings = self._list_findings(self.record.outstanding)
        for item in self.record.outstanding:
            word = ended.get(item.label, "")
            if item.label in findings.found or not word:
                continue
            if word.startswith("failed: "):
                findings.failed[item.label] = word.removeprefix("failed: ")
            else:
                item.state = "expired"
                item.error = "generated, but its notification expired before the download"
        self._collect(findings)

    def _list_notifications(self) -> list[PersonNotification]:
        """List the notifications, ``v1_poll_interval`` after the last request of this task or its trigger."""
        time.sleep(seconds_to_next(self._listed_at, self._settings.v1_poll_interval))
        try:
            return self._client.list_notifications()
        finally:
            self._listed_at = time.time()

    def _list_findings(self, items: list[Generation]) -> Findings:
        awaited = [AwaitedGeneration.of(item) for item in items]
        return match(self._list_notifications(), awaited, used=frozenset(self.record.used))

    def _collect(self, findings: Findings) -> None:
        arguments = self._arguments
        keeps_links = arguments.folder is None or arguments.push_links
        collector = Collector(
            self.record,
            self._client,
            folder=arguments.folder,
            stem=self._source.stem,
            mark=self._name_mark(),
            delete=self._terms.delete_notifications and not keeps_links,
            limit=self._settings.max_concurrency,
            save=self.save,
            log=self.log,
        )
        collector.collect(findings)

    def _name_mark(self) -> str:
        """Return what distinguishes file names of equal pictures and keywords; empty without options and rerun_key."""
        more = {"options": self._arguments.options, "rerun_key": self._terms.rerun_key}
        return fingerprint(more)[:8] if any(more.values()) else ""

    # -- ending ---------------------------------------------------------------------------------------------

    def _finish(self) -> Finished:
        links = self._links() if self._arguments.push_links else {}
        rows = result_rows(self.record, links)
        late = self.record.outstanding
        self.save()
        self._task.push("summary", summary(self.record, late))
        # Pushed before a failure is raised, so that other tasks can use the finished results.
        self._task.push("results", rows)
        self.log.info("%d of %d generation(s) done.", len(rows), len(self.record.generations))
        terms = self._terms
        for warning in raise_for_outcome(
            self.record, late, fail_on_partial=terms.fail_on_partial, connection=terms.connection
        ):
            self.log.warning(warning)
        return Finished(rows)

    def _links(self) -> dict[str, str]:
        """Return the links of finished generations, for XCom."""
        done = [AwaitedGeneration.of(item) for item in self.record.in_state("done")]
        findings = match(self._list_notifications(), done)
        if self._terms.delete_notifications:
            self._client.run(delete_ids, findings.ids)
        return {name: item.link for name, item in findings.found.items() if item.link}


def _target_seconds() -> float:
    from airflow_provider_piktid.models.v1 import TARGET_SECONDS

    return TARGET_SECONDS
