# SPDX-License-Identifier: Apache-2.0
"""
The batches of earlier runs, and what they have paid for.

A batch is several files below ``_piktid/plans/<run>/``: the sources (``batch-0001.json``, written by the plan), their
file ids (``batch-0001.uploads.json``, written by the upload), the record of the jobs (``batch-0001.jobs.json``, written
by the swap before and after each paid request) and the ids of jobs whose rows are in the catalogue
(``batch-0001.collected.json``). So a later run knows what may have been paid for, whatever ended the earlier one:
Airflow's database is not needed.
"""

from __future__ import annotations

import itertools
import json
import logging
import posixpath
import re
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from airflow_provider_piktid.common.paid import RecordedWork
from airflow_provider_piktid.common.records import ObjectRecords
from airflow_provider_piktid.exceptions import PiktidRecordError
from airflow_provider_piktid.files import storage
from airflow_provider_piktid.files.listing import modified_in
from airflow_provider_piktid.files.storage import Location
from airflow_provider_piktid.files.walk import sizes_below, walk
from airflow_provider_piktid.hooks.piktid import PiktidHook
from airflow_provider_piktid.jobs.lookup import find_job
from airflow_provider_piktid.jobs.submission import JobRecord, Submission
from airflow_provider_piktid.jobs.uploads import UploadRecord
from airflow_provider_piktid.refresh.catalogue import (
    TICK,
    CatalogueRow,
    SourceState,
    Status,
    paid_base,
    pending_row,
)
from airflow_provider_piktid.refresh.content import rows_for_equal_entries
from airflow_provider_piktid.refresh.groups import joined

if TYPE_CHECKING:
    from airflow_provider_piktid.models import JobType

log = logging.getLogger(__name__)

#: A run is read again by later ones for this long: it may still be submitting.
OPEN_SECONDS = 48 * 3600.0

#: Records that are read at the same time.
WORKERS = 8

#: Ending of a file beside the folder of a run whose batches need not be listed or read again.
CLOSED = ".closed"

#: A batch that buys; ``late`` ones only download.
_BATCH = re.compile(r"[^/]+/batch-\d+\.json")

#: Look for a job: what it makes, file ids, epoch seconds of the request, ids of jobs that are not it.
Find = Callable[[Mapping[str, Any], list[str], float, set[str]], str | None]


@dataclass(frozen=True)
class PaidBatch:
    """
    A batch for which paid requests were sent.

    :param entries: Its sources, as the plan wrote them; not read, and empty, if everything is collected.
    :param uploads: Their file ids, in the order in which the jobs take them; the same.
    :param collected: Jobs whose rows are in the catalogue.
    """

    run: str
    entries: list[dict[str, Any]]
    uploads: list[dict[str, Any]]
    record: JobRecord
    collected: frozenset[str] = frozenset()
    #: Path of the record below the folder of all plans.
    name: str = ""

    @property
    def newest(self) -> float:
        """Epoch seconds of the newest request."""
        times = (item.intent_at or 0.0 for item in self.record.submissions)
        return max([self.record.created_at, *times])

    @property
    def is_resolved(self) -> bool:
        """Whether the fate of every request is known."""
        return all(item.state != "intent" for item in self.record.submissions)

    @property
    def is_collected(self) -> bool:
        """Whether the catalogue has the rows of every job: then nothing of this batch is left to do."""
        return self.is_resolved and self.collected.issuperset(self.record.job_ids)

    def rows(self, find: Find, *, resubmit: bool) -> list[CatalogueRow]:
        """
        Return a row for each source that was, or may have been, paid for.

        :param find: Looks for the job of a request whose reply was lost.
        :param resubmit: Leave out sources whose fate stays unknown: they are submitted again.
        """
        entries = {entry["source"]: entry for entry in self.entries}
        rest = iter(self.uploads)
        rows: list[CatalogueRow] = []
        for item in self.record.submissions:
            uploads = list(itertools.islice(rest, item.count))
            status = self._status(item, uploads, find)
            if status is None or (status == "unknown" and resubmit):
                continue
            for position, upload in enumerate(joined(uploads)):
                if entry := entries.get(upload["source"]):
                    rows += _rows(entry, upload, item, status, position)
        return rows

    def _status(self, item: Submission, uploads: list[dict[str, Any]], find: Find) -> Status | None:
        if item.state == "intent":
            ids = [str(upload["file_id"]) for upload in uploads]
            job_id = find(self.record.content, ids, self.record.sought_since(item), self.record.known_jobs)
            if job_id is None:
                return "unknown"
            log.warning("Found job %s at PiktID for a request of an earlier run.", job_id)
            item.submitted(job_id, item.intent_at or self.record.created_at)
        return "pending" if item.job_id and item.job_id not in self.collected else None


def finder(piktid_conn_id: str, job_type: type[JobType]) -> Find:
    """
    Return a look-up at PiktID. No client is made before the first one.

    :param job_type: What the refresh buys now. Requests for another type of job are not looked for: what became of
        them stays unknown, and their sources are bought with the options of now.
    """

    def find(content: Mapping[str, Any], images: list[str], since: float, known: set[str]) -> str | None:
        if content.get("job_type") != job_type.word:
            return None
        with PiktidHook(piktid_conn_id).get_conn() as client:
            return find_job(client, job_type.from_arguments(content), images, since=since, known=known)

    return find


class PlanFiles:
    """
    The files of runs below ``_piktid/plans``, listed once; of a closed run only its name.

    :param private: Folder of the refresh's own files.
    """

    def __init__(self, private: Location) -> None:
        self.folder = private.join("plans")
        names = {posixpath.basename(path.rstrip("/")) for path in _entries(self.folder)}
        closed = {name.removesuffix(CLOSED) for name in names if name.endswith(CLOSED)}
        #: Runs that are not closed.
        self.runs = sorted(name for name in names - closed if not name.endswith(CLOSED))
        with ThreadPoolExecutor(WORKERS) as pool:
            found = pool.map(lambda run: dict(walk(self.folder.join(run))), self.runs)
            listed = dict(zip(self.runs, found, strict=True))
        self._names = sorted(f"{run}/{name}" for run, files in listed.items() for name in files)
        #: Run to the time of its newest file, epoch seconds.
        self.newest = {
            run: max(map(modified_in, files.values()), default=0.0) for run, files in listed.items()
        }

    @property
    def all_batches(self) -> list[str]:
        """Paths of the batches that buy, also of closed runs, which are listed for it."""
        return [name for name in sizes_below(self.folder) if _BATCH.fullmatch(name)]

    @property
    def records(self) -> list[str]:
        """Paths of the records of runs that are not closed."""
        return [name for name in self._names if name.endswith(".jobs.json")]

    def unpaid(self, run: str) -> list[str]:
        """
        Return the paths that the records of batches would have for which nothing was sent.

        :param run: This run; its own batches to which nothing has happened are written again, and left out.
        """
        names = frozenset(self._names)
        return [
            storage.beside(name, "jobs")
            for name in self._names
            if _BATCH.fullmatch(name)
            and storage.beside(name, "jobs") not in names
            and (posixpath.dirname(name) != run or storage.beside(name, "uploads") in names)
        ]


def _entries(folder: Location) -> list[str]:
    """Return the paths of the files and folders in a folder."""
    folder.fs.invalidate_cache()
    try:
        return list(folder.fs.ls(folder.path, detail=False))
    except FileNotFoundError:
        return []


def paid_batches(files: PlanFiles) -> list[PaidBatch]:
    """
    Read the batches of runs that are not closed.

    :raises PiktidRecordError: A record cannot be read, or was written by a newer version: nothing may be bought on it.
    """
    with ThreadPoolExecutor(WORKERS) as pool:
        found = pool.map(lambda name: read_batch(files.folder, name), files.records)
        return [batch for batch in found if batch is not None]


def take_over(files: PlanFiles, batches: Sequence[PaidBatch], run: str, by: str) -> None:
    """
    Close what was planned before and is not submitted: the plan of this run contains it again.

    Otherwise a clear of an earlier run, or a process of it that lives on, would buy what this run buys.

    :param batches: Those for which paid requests were sent.
    :param run: This run.
    :param by: Who takes over, for messages.
    :raises PiktidRecordError: A record was written since it was read: a process of an earlier run still submits.
    """

    def close(item: tuple[str, JobRecord | None]) -> None:
        name, record = item
        store = ObjectRecords(files.folder.join(name), JobRecord.from_json)
        work = RecordedWork(store, JobRecord.from_json, log)
        work.continue_with(record or JobRecord("", time.time(), []), stored=record is not None)
        work.record.closed_by = by
        work.save()

    open_ones = [batch for batch in batches if not batch.record.is_sent and not batch.record.closed_by]
    unsent = {batch.name: batch.record for batch in open_ones} | dict.fromkeys(files.unpaid(run))
    with ThreadPoolExecutor(WORKERS) as pool:
        list(pool.map(close, unsent.items()))


def close_runs(files: PlanFiles, batches: Sequence[PaidBatch], run: str, *, now: float | None = None) -> None:
    """
    Mark runs that have ended long ago and whose requests are all resolved: later runs need not list or read them.

    :param batches: Those for which paid requests were sent.
    :param run: This run, which stays open.
    """
    limit = (time.time() if now is None else now) - OPEN_SECONDS
    waiting = {posixpath.dirname(name) for name in files.unpaid(run)}
    waiting |= {batch.run for batch in batches if not batch.is_resolved or batch.newest >= limit}
    for other in files.runs:
        if other not in waiting and other != run and files.newest[other] < limit:
            storage.write_bytes(files.folder.join(f"{other}{CLOSED}"), b"")


def read_batch(plans: Location, name: str, *, whole: bool = False) -> PaidBatch | None:
    """
    Read a batch by the path of its record below the folder of all plans; None if nothing was sent for it.

    :param whole: Also read the sources and uploads of a batch of which everything is collected. Default: False.
    """
    place = plans.join(name.removesuffix(".jobs.json") + ".json")
    content = _read_json(plans.join(name))
    if content is None:
        return None
    record = JobRecord.from_json(content)
    collected = frozenset(_sibling(place, "collected") or ())
    batch = PaidBatch(posixpath.dirname(name), [], [], record, collected, name)
    if batch.is_collected and not whole:
        return batch
    return replace(batch, entries=_read_json(place) or [], uploads=read_uploads(place) or [])


def _sibling(batch: Location, kind: str) -> Any:
    return _read_json(_beside(batch, kind))


def _beside(batch: Location, kind: str) -> Location:
    return Location(batch.fs, storage.beside(batch.path, kind), batch.prefix)


def _read_json(place: Location) -> Any | None:
    """
    Read one of the files; None only if it does not exist.

    :raises PiktidRecordError: It cannot be read, so it is unknown what was paid for.
    """
    try:
        return storage.read_json(place)
    except (OSError, ValueError) as error:
        raise PiktidRecordError(
            f"{place.uri} cannot be read ({type(error).__name__}), so it is unknown what an earlier run has paid for. "
            "Nothing was submitted. Fix access to the file; if it is damaged, look at the account's jobs, then remove "
            "it."
        ) from error


def current_entries(
    batch: Location, entries: list[dict[str, Any]], known: Callable[[set[str]], Mapping[str, SourceState]]
) -> list[dict[str, Any]]:
    """
    Return the entries of a batch that no later run has replaced.

    Clearing the collect of an old run must not put old outputs back.

    :param known: Reads the catalogue of these sources; called only if the batch was collected before.
    """
    if _sibling(batch, "collected") is None:
        return entries
    states = known({entry["row"]["relative"] for entry in entries})
    return [entry for entry in entries if not _is_replaced(entry, states.get(entry["row"]["relative"]))]


def _is_replaced(entry: Mapping[str, Any], state: SourceState | None) -> bool:
    return state is not None and all(row["run"] != entry["row"]["run"] for row in state.rows)


def mark_collected(batch: Location, job_ids: list[str]) -> None:
    """Note that the catalogue has the rows of these jobs of a batch."""
    storage.write_bytes(_beside(batch, "collected"), json.dumps(job_ids).encode())


def read_uploads(batch: Location) -> list[dict[str, Any]] | None:
    """Return the images that the upload of a batch recorded, each with its ``project_id``; None before it did."""
    found = _sibling(batch, "uploads")
    if found is None:
        return None
    record = UploadRecord.from_json(found)
    return [image | {"project_id": record.project_id} for image in record.images]


def read_jobs(batch: Location) -> list[list[Any]] | None:
    """Return ``[job id or None, number of images]`` of each job of a batch; None if nothing was submitted."""
    found = _sibling(batch, "jobs")
    if found is None:
        return None
    return [[item.job_id, item.count] for item in JobRecord.from_json(found).submissions]


def _rows(
    entry: Mapping[str, Any], upload: Mapping[str, Any], item: Submission, status: Status, position: int
) -> list[CatalogueRow]:
    """Return the row of a source that was submitted, and those of sources with equal content."""
    # The request's time: rows that the run itself wrote later are newer and count.
    base = paid_base(entry, upload, item.intent_at or 0.0)
    if status == "pending":
        # A job that PiktID did not list in an earlier run replaces the row that says so.
        row = pending_row(base | {"at": base["at"] + TICK}, item.job_id, position)
    else:
        row = CatalogueRow(**base, status=status, error="paid for or not: the reply was lost")
    equal = rows_for_equal_entries(entry, upload, [row])
    return [row, *equal]
