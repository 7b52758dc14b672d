# SPDX-License-Identifier: Apache-2.0
"""
The record of submitted jobs: what makes a retry attach to a job instead of buying it again.

One record belongs to one task instance, whatever the try: dag, task, run and map index. It is written before
each paid request (the intent) and after it (the job id), so that a crash between the two leaves a trace.

Where it is kept:

- ``state_path`` (the operator's parameter, or ``[piktid] state_path``): one JSON object per task instance in
  object storage, on every version of Airflow;
- otherwise Airflow's task state store (3.3 and newer), without any configuration;
- otherwise nowhere: then a later try looks for the jobs at PiktID before it submits.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Generic, Literal, Protocol, TypeAlias, TypeVar, get_args

from airflow_provider_piktid.exceptions import PiktidRecordError

RECORD_VERSION = 1
STATE_KEY = "piktid_jobs"

SubmissionState = Literal["planned", "intent", "submitted"]


@dataclass
class Submission:
    """
    One paid request of a batch and what became of it.

    :param count: How many images it takes, in the order of the task's images. The ids themselves are left
        out: the fingerprint vouches for them, and a store may warn above 64 KiB.
    :param state: ``planned``: never sent. ``intent``: sent, or about to be; the reply was not seen.
        ``submitted``: ``job_id`` is known.
    :param intent_at: When it was about to be sent, epoch seconds.
    :param submitted_at: When the job id became known, epoch seconds.
    :param ended: The job's last status word, once it is a final one.
    :param replaces: Jobs of the same images that failed before without cost.
    :param resubmitted: Sent again after a lost reply, as told; never a third time.
    """

    count: int
    state: SubmissionState = "planned"
    intent_at: float | None = None
    submitted_at: float | None = None
    job_id: str | None = None
    ended: str | None = None
    replaces: list[str] = field(default_factory=list)
    resubmitted: bool = False


@dataclass
class JobRecord:
    """
    All submissions of a task instance.

    :param fingerprint: Of everything that decides the content and the bill; see :func:`fingerprint`.
    :param created_at: Epoch seconds.
    :param superseded: Jobs of an earlier record of this task instance, whose input was another.
    """

    fingerprint: str
    created_at: float
    submissions: list[Submission]
    superseded: list[str] = field(default_factory=list)
    version: int = RECORD_VERSION

    @property
    def job_ids(self) -> list[str]:
        """Known job ids in the order of the images."""
        return [item.job_id for item in self.submissions if item.job_id]

    @property
    def active(self) -> list[str]:
        """Job ids not known to have ended."""
        return [item.job_id for item in self.submissions if item.job_id and not item.ended]

    @property
    def submission_times(self) -> dict[str, float]:
        """Job id to the time of its submission, epoch seconds."""
        return {
            item.job_id: item.submitted_at for item in self.submissions if item.job_id and item.submitted_at
        }

    @property
    def known_jobs(self) -> set[str]:
        """Every job this task instance ever had: none of them is the answer to a lost reply."""
        own = {job_id for item in self.submissions for job_id in (item.job_id, *item.replaces) if job_id}
        return own | set(self.superseded)

    def mark_ended(self, ended: Mapping[str, str]) -> None:
        """Note jobs that have ended, by id and status word."""
        for item in self.submissions:
            item.ended = item.ended or ended.get(item.job_id or "")

    def plan_again(self, job_ids: Collection[str]) -> None:
        """Let the submissions of these jobs be sent anew."""
        for item in self.submissions:
            if item.job_id and item.job_id in job_ids:
                item.replaces.append(item.job_id)
                item.state, item.job_id, item.submitted_at, item.ended = "planned", None, None, None

    def chunks(self, images: Sequence[str]) -> list[list[str]]:
        """Deal the task's images out to the submissions."""
        rest = iter(images)
        return [list(itertools.islice(rest, item.count)) for item in self.submissions]

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, value: Any) -> JobRecord:
        """
        Rebuild a record.

        :raises PiktidRecordError: It is not one, or was written by a newer version of this package.
        """
        try:
            version = int(value["version"])
            if version > RECORD_VERSION:
                raise PiktidRecordError(
                    f"The record of submitted jobs has version {version}; this package knows {RECORD_VERSION}. "
                    "Update airflow-provider-piktid on the workers before running this task again."
                )
            submissions = [_submission(item) for item in value["submissions"]]
            return cls(
                fingerprint=str(value["fingerprint"]),
                created_at=float(value["created_at"]),
                submissions=submissions,
                superseded=[str(job_id) for job_id in value.get("superseded") or []],
                version=version,
            )
        except (KeyError, TypeError, ValueError) as error:
            raise PiktidRecordError(
                "The record of submitted jobs cannot be understood. Look the jobs up at PiktID, then remove "
                "the record to submit anew."
            ) from error


def _submission(item: Mapping[str, Any]) -> Submission:
    """Rebuild a submission; one in a state that is none of ours would be sent, and paid, again."""
    submission = Submission(**item)
    if submission.state not in get_args(SubmissionState):
        raise ValueError(submission.state)
    if (submission.state == "submitted") != bool(submission.job_id):
        raise ValueError("a submission has a job id exactly when it is submitted")
    return submission


class Record(Protocol):
    """What a store needs of a record: how to write it, and what to name when that fails."""

    @property
    def job_ids(self) -> list[str]: ...

    def to_json(self) -> dict[str, Any]: ...


R = TypeVar("R", bound=Record)


class Store(Protocol[R]):
    """Where a record is kept. ``durable`` tells whether it survives a retry."""

    durable: bool

    def load(self) -> R | None:
        """Return the record, or None if there certainly is none; raise PiktidRecordError otherwise."""
        ...

    def save(self, record: R) -> None:
        """Write the record; raise PiktidRecordError if it is not certain that it was written."""
        ...


RecordStore: TypeAlias = Store[JobRecord]


class TaskStateRecords(Generic[R]):
    """Airflow's task state store (3.3+): kept over retries; a clear may drop it from 3.4 on."""

    durable = True

    def __init__(self, accessor: Any, key: str, parse: Callable[[Any], R]) -> None:
        self._accessor = accessor
        self._key = key
        self._parse = parse

    def load(self) -> R | None:
        try:
            value = self._accessor.get(self._key)
        except Exception as error:
            raise PiktidRecordError(
                "The task state store could not be read, so it is unknown whether jobs were submitted before. "
                "Nothing was submitted; try again when Airflow's API server answers."
            ) from error
        return None if value is None else self._parse(value)

    def save(self, record: R) -> None:
        try:
            self._accessor.set(self._key, record.to_json())
        except Exception as error:
            raise PiktidRecordError(
                f"The task state store could not be written; jobs known so far: {record.job_ids or 'none'}."
            ) from error


class ObjectRecords(Generic[R]):
    """One JSON object below ``state_path``, on any store that ``ObjectStoragePath`` knows."""

    durable = True

    def __init__(self, state_path: str, key: str, parse: Callable[[Any], R]) -> None:
        self._uri = f"{state_path.rstrip('/')}/{key}.json"
        self._parse = parse

    def load(self) -> R | None:
        from airflow_provider_piktid.files import storage

        try:
            value = storage.read_json(storage.locate(self._uri))
        except Exception as error:
            raise PiktidRecordError(
                f"The record {self._uri} could not be read ({type(error).__name__}), so it is unknown whether "
                "jobs were submitted before. Nothing was submitted; repair `state_path` and try again."
            ) from error
        return None if value is None else self._parse(value)

    def save(self, record: R) -> None:
        from airflow_provider_piktid.files import storage

        content = json.dumps(record.to_json()).encode()
        try:
            storage.write_bytes(storage.locate(self._uri), content)
        except Exception as error:
            raise PiktidRecordError(
                f"The record {self._uri} could not be written ({type(error).__name__}); jobs known so far: "
                f"{record.job_ids or 'none'}. Make `state_path` writable for the workers."
            ) from error


class NoRecords(Generic[R]):
    """No place to keep a record: Airflow older than 3.3 and no ``state_path``."""

    durable = False

    def load(self) -> R | None:
        return None

    def save(self, record: R) -> None:
        return None


def open_store(context: Mapping[str, Any], state_path: str | None) -> RecordStore:
    """Choose the store for the task instance of a context."""
    return choose_store(context, state_path, STATE_KEY, JobRecord.from_json)


def choose_store(
    context: Mapping[str, Any],
    state_path: str | None,
    state_key: str,
    parse: Callable[[Any], R],
    *,
    beside: str | None = None,
) -> Store[R]:
    """
    Choose where one kind of record is kept.

    :param state_key: Its name in the task state store. Kinds other than jobs carry it in their object's name.
    :param parse: Rebuilds the record from its JSON; raises PiktidRecordError.
    :param beside: Folder to fall back to where neither ``state_path`` nor a task state store exists.
    """
    from airflow.providers.common.compat.sdk import conf

    path = state_path or conf.get("piktid", "state_path", fallback="")
    accessor = None if path else context.get("task_state_store")
    if accessor is not None:
        return TaskStateRecords(accessor, state_key, parse)
    path = path or beside
    if path:
        ti = context["ti"]
        key = record_key(ti.dag_id, ti.task_id, ti.run_id, ti.map_index)
        return ObjectRecords(path, key if state_key == STATE_KEY else f"{key}-{state_key}", parse)
    return NoRecords()


def record_key(dag_id: str, task_id: str, run_id: str, map_index: int | None) -> str:
    """Name of a task instance's record. The try number is left out on purpose."""
    index = -1 if map_index is None else map_index
    # NUL cannot stand in any of the parts, so two task instances never share a key.
    digest = hashlib.sha256("\0".join((dag_id, task_id, run_id, str(index))).encode()).hexdigest()
    # ASCII only: file systems count the bytes of a name, not its letters.
    readable = re.sub(r"[^A-Za-z0-9_.-]", "_", f"{dag_id}.{task_id}")
    return f"{readable[:80]}-{digest[:32]}"


def fingerprint(parts: Mapping[str, Any]) -> str:
    """Digest of what decides the content and the bill: connection, identity, options, image ids, generation."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()


def plan(image_count: int, images_per_job: int, *, fingerprint: str, now: float) -> JobRecord:
    """Split a number of images into submissions, in order, none of them sent."""
    counts = [min(images_per_job, image_count - i) for i in range(0, image_count, images_per_job)]
    return JobRecord(fingerprint, now, [Submission(count) for count in counts])
