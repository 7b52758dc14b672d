# SPDX-License-Identifier: Apache-2.0
"""
What other tasks have bought: with ``reuse``, the same pictures with the same options are bought once.

All records of tasks that buy with the same options lie in one folder, and each names the content of its pictures. So
there is no index that could disagree with the records: what was paid for, or may have been, is known from before the
request on.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from airflow_provider_piktid.common.paid import Terms
from airflow_provider_piktid.common.records import ObjectRecords, fingerprint
from airflow_provider_piktid.exceptions import PiktidConfigError, PiktidNotFoundError, PiktidSubmissionError
from airflow_provider_piktid.files import storage
from airflow_provider_piktid.files.walk import sizes_below
from airflow_provider_piktid.jobs.lookup import find_job
from airflow_provider_piktid.jobs.submission import JobRecord, Submission

if TYPE_CHECKING:
    from airflow_provider_piktid.client import PiktidClient
    from airflow_provider_piktid.models import JobType

#: Records that are read at the same time.
READERS = 8


@dataclass(frozen=True)
class Purchase:
    """The job that has made the outputs of a picture, and the file id that the picture has there."""

    job_id: str
    file_id: str


class Purchases:
    """
    The purchases of all tasks with the same options.

    :param folder: URI of the folder of their records, see :func:`options_folder`.
    """

    def __init__(self, folder: str, job: JobType, terms: Terms, client: PiktidClient) -> None:
        self._folder = folder
        self._job = job
        self._terms = terms
        self._client = client
        self._usable: dict[str, bool] = {}

    def owned(self, wanted: Collection[str]) -> dict[str, Purchase]:
        """
        Return the purchases of some pictures.

        :param wanted: SHA-256 of each.
        :raises PiktidSubmissionError: A request with one of them may have been paid for, and PiktID does not list it.
        """
        found: dict[str, Purchase] = {}
        for record in self._records():
            for item, chunk in zip(record.submissions, record.chunks(list(record.contents)), strict=True):
                rest = {record.contents[file_id]: file_id for file_id in chunk}
                rest = {sha: file_id for sha, file_id in rest.items() if sha in wanted and sha not in found}
                job_id = self._job_of(record, item, chunk) if rest else None
                if job_id and self._is_usable(job_id):
                    found |= {sha: Purchase(job_id, file_id) for sha, file_id in rest.items()}
        return found

    def _records(self) -> Iterator[JobRecord]:
        """Read all records, also those of earlier arguments."""
        folder = storage.locate(self._folder)
        names = sorted(name for name in sizes_below(folder) if name.endswith(".json"))
        stores = [ObjectRecords(folder.join(name), JobRecord.from_json) for name in names]
        with ThreadPoolExecutor(READERS) as pool:
            for record in pool.map(ObjectRecords.load, stores):
                if record is not None:
                    yield record
                    yield from map(JobRecord.from_json, record.earlier)

    def _job_of(self, record: JobRecord, item: Submission, images: list[str]) -> str | None:
        """Return the job of a request; look for it if its reply was lost."""
        if item.state != "intent":
            return item.job_id
        since = record.sought_since(item)
        found = find_job(self._client, self._job, images, since=since, known=record.known_jobs)
        if found is None and self._terms.on_lost_reply == "fail":
            raise PiktidSubmissionError(
                f"{self._terms.connection}: another run recorded a request with {item.count} of these images in "
                f"{self._folder}, and PiktID lists no job that is certainly its result. It may or may not have been "
                "paid for. Run that task again, or set on_lost_reply='resubmit' to submit the images here."
            )
        return found

    def _is_usable(self, job_id: str) -> bool:
        if job_id not in self._usable:
            try:
                self._usable[job_id] = self._client.get_job(job_id).status not in ("failed", "aborted")
            except PiktidNotFoundError:
                self._usable[job_id] = False
        return self._usable[job_id]


def options_folder(state_path: str, job: JobType, terms: Terms) -> str:
    """Return the folder of the records of all tasks that buy with the same connection and options."""
    parts = {"connection": terms.connection, "rerun_key": terms.rerun_key, **job.content()}
    return f"{state_path.rstrip('/')}/reuse-{fingerprint(parts)[:16]}"


def content_of(images: Any) -> dict[str, str]:
    """
    Map the file id of each image to its SHA-256.

    :param images: Rows of an upload.
    :raises PiktidConfigError: They are not.
    """
    rows = images if isinstance(images, list | tuple) else []
    contents = {
        str(row["file_id"]): str(row["sha256"])
        for row in rows
        if isinstance(row, Mapping) and row.get("file_id") and row.get("sha256")
    }
    if not contents or len(contents) != len(rows):
        raise PiktidConfigError(
            "reuse=True compares the content of images. Pass the rows of the upload, with file_id and sha256: "
            "images=upload.output['images']."
        )
    return contents
