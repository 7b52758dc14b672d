# SPDX-License-Identifier: Apache-2.0
"""
The record of a task's paid work, and where it is kept.

One record belongs to one task instance, whatever the try: dag, task, run and map index. It is written before each
paid request (the intent) and after it (the outcome), so that a crash between the two leaves a trace.

- ``state_path`` (the operator's parameter, or ``[piktid] state_path``): one JSON object per task instance in
  object storage, on every version of Airflow;
- otherwise Airflow's task state store (3.3 and newer), without any configuration;
- otherwise nowhere: then a later try looks for the work at PiktID before it submits anything.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, ClassVar, Generic, Protocol, Self, TypeVar

from airflow.providers.common.compat.sdk import conf

from airflow_provider_piktid.exceptions import PiktidRecordError
from airflow_provider_piktid.files import storage
from airflow_provider_piktid.files.storage import Location


@dataclass
class VersionedRecord:
    """What is kept as a JSON object with a ``version``."""

    #: What it is a record of, for messages: "submitted jobs".
    WHAT: ClassVar[str]
    #: The highest version that this package can read.
    NEWEST: ClassVar[int] = 1

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, value: Any) -> Self:
        """
        Rebuild a record.

        :raises PiktidRecordError: It is not one, or was written by a newer version of this package.
        """
        try:
            version = int(value["version"])
            if version <= cls.NEWEST:
                return cls._build(value)
        except (KeyError, TypeError, ValueError, IndexError) as error:
            raise PiktidRecordError(
                f"The record of {cls.WHAT} cannot be read. Look the work up at PiktID, then remove the record to start "
                "again."
            ) from error
        raise PiktidRecordError(
            f"The record of {cls.WHAT} has version {version}, this package knows {cls.NEWEST}. Update "
            "airflow-provider-piktid on the workers before running this task again."
        )

    @classmethod
    def _build(cls, value: Mapping[str, Any]) -> Self:
        """Make the record; a ``KeyError``, ``TypeError``, ``ValueError`` or ``IndexError`` means that it is not one."""
        raise NotImplementedError


@dataclass
class PaidRecord(VersionedRecord):
    """
    What every record of paid work has.

    :param fingerprint: Digest of everything that decides the content and the bill.
    :param earlier: Records of other work that this task instance paid for before, as JSON, newest first: arguments
        that change and change back find what they bought.
    :param owner: The process that wrote the record last, any unique text.
    :param revision: How often the record was written. It only grows, so that a process notices that another one has
        written the record since it was read.
    :param closed_by: Who has taken over what is not sent, for messages; empty if nobody has. With such a record nothing
        more is sent.
    """

    fingerprint: str
    earlier: list[dict[str, Any]] = field(default_factory=list, kw_only=True)
    owner: str = field(default="", kw_only=True)
    revision: int = field(default=0, kw_only=True)
    closed_by: str = field(default="", kw_only=True)

    @property
    def job_ids(self) -> list[str]:
        """What was paid for, for messages."""
        raise NotImplementedError

    @property
    def is_sent(self) -> bool:
        """Whether no request is left to send or to look for."""
        raise NotImplementedError

    def with_earlier(self) -> list[dict[str, Any]]:
        """Return this record and its earlier ones as a list of JSON without nesting."""
        return [self.to_json() | {"earlier": []}, *self.earlier]


def taken_over(record: PaidRecord) -> PiktidRecordError:
    """Return the error for a task of which others have taken over what it had not submitted."""
    error = PiktidRecordError(
        f"{record.closed_by} has taken over what this task had not submitted, so nothing more is submitted here. "
        f"Submitted before: {record.job_ids or 'nothing'}. Clear that run instead."
    )
    error.permanent = True
    return error


def shared_fields(value: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of :class:`PaidRecord` from the JSON of a record."""
    return {
        "fingerprint": str(value["fingerprint"]),
        "earlier": [dict(item) for item in value.get("earlier") or []],
        "owner": str(value.get("owner") or ""),
        "revision": int(value.get("revision") or 0),
        "closed_by": str(value.get("closed_by") or ""),
    }


class Stored(Protocol):
    """What a store needs of a record: how to write it, and what to name when that fails."""

    @property
    def job_ids(self) -> list[str]: ...

    def to_json(self) -> dict[str, Any]: ...


R = TypeVar("R", bound=Stored)


class Store(Protocol[R]):
    """
    Where a record is kept.

    ``durable`` tells whether it survives a retry, ``survives_clear`` whether it also survives a clear of the task.
    """

    durable: bool
    survives_clear: bool

    def load(self) -> R | None:
        """Return the record, or None if there certainly is none; raise PiktidRecordError otherwise."""
        ...

    def save(self, record: R) -> None:
        """Write the record; raise PiktidRecordError if it is not certain that it was written."""
        ...


class TaskStateRecords(Generic[R]):
    """Airflow's task state store (3.3+): kept over retries; a clear may drop it from 3.4 on."""

    durable = True
    survives_clear = False

    def __init__(self, accessor: Any, key: str, parse: Callable[[Any], R]) -> None:
        self._accessor = accessor
        self._key = key
        self._parse = parse

    def load(self) -> R | None:
        try:
            value = self._accessor.get(self._key)
        except Exception as error:
            raise PiktidRecordError(
                "The task state store could not be read, so it is unknown whether this task has paid before. "
                "Nothing was submitted. Retry when Airflow's API server is reachable."
            ) from error
        return None if value is None else self._parse(value)

    def save(self, record: R) -> None:
        try:
            self._accessor.set(self._key, record.to_json())
        except Exception as error:
            raise PiktidRecordError(
                f"The task state store could not be written; known so far: {record.job_ids or 'none'}."
            ) from error


class ObjectRecords(Generic[R]):
    """
    One JSON object on any store that ``ObjectStoragePath`` supports.

    :param place: Its URI, or its location: only that may be used on other threads than the task's.
    """

    durable = True
    survives_clear = True

    def __init__(self, place: str | Location, parse: Callable[[Any], R]) -> None:
        self._place = place
        self._parse = parse

    @property
    def _uri(self) -> str:
        return self._place if isinstance(self._place, str) else self._place.uri

    def _located(self) -> Location:
        return storage.locate(self._place) if isinstance(self._place, str) else self._place

    def load(self) -> R | None:
        try:
            value = storage.read_json(self._located())
        except Exception as error:
            raise PiktidRecordError(
                f"The record {self._uri} could not be read ({type(error).__name__}), so it is unknown whether "
                "this task has paid before. Nothing was submitted. Fix access to the record and retry."
            ) from error
        return None if value is None else self._parse(value)

    def save(self, record: R) -> None:
        content = json.dumps(record.to_json()).encode()
        try:
            storage.write_bytes(self._located(), content)
        except Exception as error:
            raise PiktidRecordError(
                f"The record {self._uri} could not be written ({type(error).__name__}); known so far: "
                f"{record.job_ids or 'none'}. Make `state_path` writable for the workers."
            ) from error


class NoRecords(Generic[R]):
    """Keeps nothing: Airflow older than 3.3 without ``state_path``."""

    durable = False
    survives_clear = False

    def load(self) -> R | None:
        return None

    def save(self, record: R) -> None:
        return None


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

    :param state_key: Names the kind of record in the task state store and in the object's name.
    :param parse: Rebuilds the record from its JSON; raises PiktidRecordError.
    :param beside: Folder to use where there is no ``state_path``; unlike a task state store, a clear does not drop it.
    """
    folder = state_path or configured_folder() or beside
    accessor = None if folder else context.get("task_state_store")
    if accessor is not None:
        return TaskStateRecords(accessor, state_key, parse)
    if folder:
        ti = context["ti"]
        key = record_key(ti.dag_id, ti.task_id, ti.run_id, _index(ti))
        return ObjectRecords(f"{folder.rstrip('/')}/{key}-{state_key}.json", parse)
    return NoRecords()


def _index(ti: Any) -> int | None:
    """
    Return which of the instances of its task in a run this is.

    The iterations of a loop (Airflow 3.4) have one map index, and differ in ``region_index``, which is the map index of
    mapped tasks. The id of the region is left out, because it may change when a task is cleared. So a task that is
    mapped within a loop has one record for each map index, and buys again only if its arguments differ.
    """
    index: int | None = getattr(ti, "region_index", None)
    return ti.map_index if index is None else index


def configured_folder() -> str:
    """Return ``[piktid] state_path``; empty if it is not set."""
    return str(conf.get("piktid", "state_path", fallback="") or "")


def record_key(dag_id: str, task_id: str, run_id: str, map_index: int | None) -> str:
    """Return the name of a task instance's record: the same for every try."""
    index = -1 if map_index is None else map_index
    # None of the parts can contain NUL, so two task instances never share a key.
    digest = hashlib.sha256("\0".join((dag_id, task_id, run_id, str(index))).encode()).hexdigest()
    # ASCII only: file systems count the bytes of a name, not its letters.
    readable = re.sub(r"[^A-Za-z0-9_.-]", "_", f"{dag_id}.{task_id}")
    return f"{readable[:80]}-{digest[:32]}"


def fingerprint(parts: Mapping[str, Any]) -> str:
    """Return a digest of everything that decides the content and the bill."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()


class CurrentTask:
    """
    What paid work needs to know of the task instance it runs for.

    :param context: Airflow's context.
    """

    def __init__(self, context: Any) -> None:
        self._context = context

    @property
    def is_retry(self) -> bool:
        return bool(self._context["ti"].try_number > 1)

    @property
    def run_began(self) -> float:
        """
        A moment before which the DAG run bought nothing, epoch seconds.

        The end of its data interval, else its logical date: unlike its start, these survive a clear.
        """
        for key in ("data_interval_end", "logical_date"):
            moment = self._context.get(key)
            if moment is not None:
                return float(moment.timestamp())
        run_after = getattr(self._context.get("dag_run"), "run_after", None)
        return float(run_after.timestamp()) if run_after is not None else 0.0

    def push(self, key: str, value: Any) -> None:
        """Push a value to XCom under its own key."""
        self._context["ti"].xcom_push(key=key, value=value)

    def open_store(
        self,
        state_path: str | None,
        state_key: str,
        parse: Callable[[Any], R],
        *,
        beside: str | None = None,
        record_path: str | None = None,
    ) -> Store[R]:
        """
        Choose where a record of this task instance is kept; see :func:`choose_store`.

        :param record_path: URI of the record itself, where others look for it. Default: chosen.
        """
        if record_path:
            return ObjectRecords(record_path, parse)
        return choose_store(self._context, state_path, state_key, parse, beside=beside)
