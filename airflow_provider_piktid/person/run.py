# SPDX-License-Identifier: Apache-2.0
"""One process's part of a person generation: from a start or a resume to an end or a deferral."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from airflow_provider_piktid.common import records
from airflow_provider_piktid.common.task import push
from airflow_provider_piktid.exceptions import (
    PiktidBudgetError,
    PiktidConfigError,
    PiktidDownloadError,
    PiktidNotFoundError,
    PiktidSubmissionError,
)
from airflow_provider_piktid.files import storage
from airflow_provider_piktid.hooks.piktid import PiktidHook
from airflow_provider_piktid.jobs.waiting import framework_timeout
from airflow_provider_piktid.person.arguments import (
    Source,
    choose_persons,
    faces_of,
    name_source,
    read_keywords,
    read_options,
)
from airflow_provider_piktid.person.batch import PersonBatch, Terms, delete_ids
from airflow_provider_piktid.person.outcome import judge, result_rows, summary
from airflow_provider_piktid.person.record import STATE_KEY, Findings, PersonRecord, Wanted, match

if TYPE_CHECKING:
    from airflow_provider_piktid.client import PiktidV1Client
    from airflow_provider_piktid.common.records import Store
    from airflow_provider_piktid.files.storage import Location
    from airflow_provider_piktid.operators.generate_person import PiktidGeneratePersonOperator
    from airflow_provider_piktid.person.poller import Watch

#: PiktID deletes pictures after 24 hours; one that is nearly as old is uploaded again.
TARGET_MARGIN_SECONDS = 3600.0


class PersonRun:
    """
    What one process does of a task.

    Whoever makes it sets ``client``, then calls :meth:`begin`, or :meth:`resume` and :meth:`collect_ended`, and
    then :meth:`proceed`.
    """

    client: PiktidV1Client
    record: PersonRecord

    def __init__(self, operator: PiktidGeneratePersonOperator, context: Any) -> None:
        self.operator = operator
        self.context = context
        self.log = operator.log
        self.hook = PiktidHook(operator.piktid_conn_id)
        self.hook.settings.require_v1()
        self._check_arguments()
        self.keywords = read_keywords(operator.keywords, allow_unknown=operator.allow_unknown_keywords)
        self.options = read_options(operator.options)
        self.source: Source = name_source(operator.image, operator.id_image)
        self.folder = self._folder()
        self.store: Store[PersonRecord] = records.choose_store(
            context,
            operator.state_path,
            STATE_KEY,
            PersonRecord.from_json,
            beside=self.folder.join(storage.PRIVATE_FOLDER).uri if self.folder else None,
        )

    def _check_arguments(self) -> None:
        operator = self.operator
        for name, words in (("on_ambiguous", ("fail", "resubmit")), ("unusable", ("skip", "fail"))):
            if getattr(operator, name) not in words:
                raise PiktidConfigError(f"{name} must be {words[0]!r} or {words[1]!r}")
        if operator.stagger < 0:
            raise PiktidConfigError(f"stagger must be 0 seconds or more, not {operator.stagger}")

    def _folder(self) -> Location | None:
        path = self.operator.output_path
        try:
            return storage.locate(path) if path else None
        except Exception as error:
            raise self._unwritable(error) from error

    def _unwritable(self, error: Exception) -> PiktidDownloadError:
        return PiktidDownloadError(
            f"output_path {self.operator.output_path} cannot be written ({type(error).__name__}). Correct the path, "
            "its permissions or its connection. Nothing was paid for in this try."
        )

    # -- beginning ------------------------------------------------------------------------------------------

    def begin(self) -> None:
        """Take up the record of an earlier try, or start one, and plan what is missing."""
        self.source = self.source.read()
        if self.folder is not None:
            try:
                storage.check_writable(self.folder)
            except Exception as error:
                raise self._unwritable(error) from error
        known, wanted, now = self.store.load(), self._fingerprint(), time.time()
        if known is not None and known.fingerprint == wanted:
            self.record = known
            self._attach(now)
        else:
            self._refuse_blind_retry(known)
            if known is not None and known.job_ids:
                self.log.warning("The input differs from what was paid for before: paying anew.")
            self.record = PersonRecord(wanted, now, attached_at=now, id_image=self.source.id_image)
        if not self.store.durable:
            self.log.warning(
                "Nothing here survives a retry: this Airflow has no task state store, and there is no output_path. "
                "Set `state_path` or [piktid] state_path to a folder all workers reach."
            )
        self._plan()

    def resume(self, carried: Any) -> None:
        """Take the stored record, or what the trigger handed back where nothing is stored."""
        self.record = self.store.load() or PersonRecord.from_json(carried)
        self._note_running()

    def _attach(self, now: float) -> None:
        record = self.record
        record.attached_at, record.refused_for_good = now, False
        self._check_files()
        if record.job_ids:
            self.log.info("Attaching to %d generation(s) paid for before.", len(record.job_ids))
        lost = record.in_state("expired")
        for item in lost:
            item.state = "requested"
        if record.outstanding:
            self._collect_now()
        for item in record.in_state("failed", "refused") + [item for item in lost if item.outstanding]:
            self.log.info("Asking again for %s: %s.", item.label, item.error)
            item.plan_again()
        if record.uploaded_at and now > record.uploaded_at + _target_seconds() - TARGET_MARGIN_SECONDS:
            record.id_image = None

    def _check_files(self) -> None:
        for item in self.record.in_state("done"):
            location = storage.locate(item.file) if item.file else None
            if location is not None and not location.fs.exists(location.path):
                error = PiktidDownloadError(
                    f"{item.file} was fetched before and is gone. Put it back, or set `generation` to a new value to "
                    "buy everything again."
                )
                error.permanent = True
                raise error

    def _refuse_blind_retry(self, known: PersonRecord | None) -> None:
        operator = self.operator
        if (
            known is None
            and not self.store.durable
            and self.context["ti"].try_number > 1
            and operator.on_ambiguous == "fail"
        ):
            error = PiktidSubmissionError(
                f"{operator.piktid_conn_id}: an earlier try of this task may have paid, and left no record. Look at "
                "the account; then set `state_path` (or `output_path`), or on_ambiguous='resubmit' to pay anew."
            )
            error.permanent = True
            raise error

    def _plan(self) -> None:
        record, operator = self.record, self.operator
        if record.id_image is None and record.faces is None:
            self._upload()
        elif self.source.id_image and not record.generations:
            self._look_up()
        persons, blurry = choose_persons(
            operator.persons, record.faces, fail_unusable=operator.unusable == "fail"
        )
        if blurry:
            self.log.warning("Leaving out persons %s: PiktID calls their faces too blurry.", blurry)
        record.want(persons, self.keywords)
        count = len(record.in_state("planned"))
        if operator.max_generations is not None and count > int(operator.max_generations):
            raise PiktidBudgetError(
                f"{operator.piktid_conn_id}: {count} generations, but max_generations is {operator.max_generations}. "
                "Nothing was paid in this try. Raise the limit, or ask for fewer persons or keywords."
            )
        self.store.save(record)

    def _upload(self) -> None:
        if self.source.id_image:
            raise PiktidConfigError(
                f"{self.operator.piktid_conn_id}: PiktID keeps pictures for 24 hours, and id_image is older or "
                "unknown. Give the picture itself as image."
            )
        self.source = self.source.read()
        # The age is counted from before the upload, on the safe side.
        uploaded_at = time.time()
        target = self.client.upload_target(
            self.source.content, filename=self.source.filename, url=self.source.url
        )
        self.record.faces = faces_of(target)
        self.record.id_image, self.record.uploaded_at = target.id_image, uploaded_at
        self.log.info("Uploaded the picture; PiktID found %d person(s).", len(self.record.faces))

    def _look_up(self) -> None:
        """For a picture that somebody else uploaded: who is in it, and what happened to it before."""
        try:
            self.record.faces = faces_of(self.client.get_image(self.source.id_image or ""))
        except PiktidNotFoundError as error:
            # Either the picture or the whole endpoint may be unknown; the paid request will tell.
            self.log.warning("PiktID does not tell who is in the picture: %s", error)
        self.record.used = [
            item.identity
            for item in self.client.list_notifications()
            if item.id_image == self.source.id_image
        ]

    def _fingerprint(self) -> str:
        return records.fingerprint(
            {
                "connection": self.operator.piktid_conn_id,
                "image": self.source.identity,
                "options": self.options,
                "generation": self.operator.generation,
            }
        )

    # -- going on -------------------------------------------------------------------------------------------

    def proceed(self) -> list[dict[str, Any]]:
        """Ask, wait and fetch until nothing is left to wait for."""
        operator, record = self.operator, self.record
        batch = self._batch()
        while True:
            batch.resubmit_late()
            go_on = batch.ask()
            self._note_running()
            if go_on is not None and go_on > record.attached_at + operator.queue_timeout + operator.stagger:
                self._give_up_asking()
                go_on = None
            waiting = batch.waiting()
            if go_on is None and not waiting:
                return self._finish(batch)
            end_time = min((batch.deadline(item) for item in waiting), default=None)
            wanted = [Wanted.of(item) for item in waiting]
            if operator.deferrable:
                self._defer(wanted, go_on, end_time)
            self._wait(wanted, go_on, end_time)

    def _batch(self) -> PersonBatch:
        operator = self.operator
        terms = Terms(
            operator.stagger, operator.timeout, operator.ambiguous_grace, operator.on_ambiguous, self.options
        )
        return PersonBatch(
            self.record, self.client, terms, upload=self._upload, save=self._save, log=self.log
        )

    def _save(self) -> None:
        self._note_running()
        self.store.save(self.record)

    def _note_running(self) -> None:
        self.operator._running = [item.label for item in self.record.outstanding]

    def _give_up_asking(self) -> None:
        for item in self.record.in_state("planned"):
            item.state = "refused"
            item.error = f"the account took no more requests for {self.operator.queue_timeout:g} s"
        self._save()

    def _defer(self, wanted: list[Wanted], resume_at: float | None, end_time: float | None) -> None:
        from airflow_provider_piktid.triggers.generate_person import PiktidGeneratePersonTrigger

        self._save()
        until = max(moment for moment in (resume_at, end_time) if moment is not None)
        self.log.info("Waiting for %d generation(s) without a worker.", len(wanted))
        self.operator.defer(
            trigger=PiktidGeneratePersonTrigger(
                wanted=[item.to_json() for item in wanted],
                piktid_conn_id=self.operator.piktid_conn_id,
                used=self.record.used,
                resume_at=resume_at,
                end_time=end_time,
                carry={"record": self.record.to_json()},
            ),
            method_name="execute_complete",
            timeout=framework_timeout(until),
        )

    def _wait(self, wanted: list[Wanted], resume_at: float | None, end_time: float | None) -> None:
        """Wait on this thread: what the trigger does, with the same code."""
        from airflow_provider_piktid.person.poller import Watch

        if not wanted:
            time.sleep(max(0.0, (resume_at or 0.0) - time.time()))
            return
        watch = Watch(
            wanted,
            used=frozenset(self.record.used),
            resume_at=resume_at,
            end_time=end_time if end_time is not None else float("inf"),
        )
        self._collect(self._watch(watch))

    def _watch(self, watch: Watch) -> Findings:
        from airflow_provider_piktid.hooks.piktid import async_v1_client
        from airflow_provider_piktid.person.poller import shared_poller

        settings = self.hook.settings

        async def connect() -> Any:
            return async_v1_client(settings, patient=False)

        async def wait(_: Any) -> Findings:
            return (await shared_poller(settings.v1_account, connect).wait(watch)).findings

        return self.client.run(wait)

    # -- collecting -----------------------------------------------------------------------------------------

    def collect_ended(self, ended: Mapping[str, str]) -> None:
        """Fetch what a trigger saw. It hands over no links, so they are read anew."""
        if not ended:
            return
        findings = self._look()
        for item in self.record.outstanding:
            word = ended.get(item.label, "")
            if item.label in findings.found or not word:
                continue
            if word.startswith("failed: "):
                findings.failed[item.label] = word.removeprefix("failed: ")
            else:
                item.state, item.error = (
                    "expired",
                    "made, but its notification was gone before it was fetched",
                )
        self._collect(findings)

    def _collect_now(self) -> None:
        self._collect(self._look())

    def _look(self) -> Findings:
        wanted = [Wanted.of(item) for item in self.record.outstanding]
        return match(self.client.list_notifications(), wanted, used=frozenset(self.record.used))

    def _collect(self, findings: Findings) -> None:
        operator = self.operator
        self._batch().collect(
            findings,
            folder=self.folder,
            stem=self.source.stem,
            delete=operator.delete_notifications and self.folder is not None and not operator.push_links,
            limit=self.hook.settings.max_concurrency,
        )

    # -- ending ---------------------------------------------------------------------------------------------

    def _finish(self, batch: PersonBatch) -> list[dict[str, Any]]:
        operator = self.operator
        links = self._links() if operator.push_links else {}
        rows = result_rows(self.record, links)
        late = batch.late()
        self._save()
        push(self.context, "summary", summary(self.record, late))
        # Also when the task fails: what was generated is there for whoever goes on with it.
        push(self.context, "results", rows)
        self.log.info("%d of %d generation(s) done.", len(rows), len(self.record.generations))
        for warning in judge(
            self.record, late, fail_on_partial=operator.fail_on_partial, connection=operator.piktid_conn_id
        ):
            self.log.warning(warning)
        self.operator._running = []
        return rows

    def _links(self) -> dict[str, str]:
        """Read the links of finished generations for a DAG author who wants them in XCom."""
        done = [Wanted.of(item) for item in self.record.in_state("done")]
        findings = match(self.client.list_notifications(), done)
        if self.operator.delete_notifications:
            self.client.run(delete_ids, findings.ids)
        return {name: item.link for name, item in findings.found.items() if item.link}


def _target_seconds() -> float:
    from airflow_provider_piktid.models.v1 import TARGET_SECONDS

    return TARGET_SECONDS
