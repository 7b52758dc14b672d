# SPDX-License-Identifier: Apache-2.0
"""Paid work with a record: taken up by one process after another, but written by one at a time."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping
from typing import Any, Generic, TypeVar

from airflow_provider_piktid.common.records import PaidRecord, Store
from airflow_provider_piktid.exceptions import PiktidRecordError

Paid = TypeVar("Paid", bound=PaidRecord)


class RecordedWork(Generic[Paid]):
    """
    What every kind of run does with its record.

    Every write first compares the stored record with the one that this process read or wrote last. So a process that
    lives on beside its retry stops before its next paid request. No store offers compare-and-swap on all versions:
    two processes that compare within the same milliseconds are not noticed before their next write.

    :param parse: Rebuilds the record from its JSON.
    :param log: A logger.
    """

    def __init__(self, store: Store[Paid], parse: Callable[[Any], Paid], log: Any) -> None:
        self.store = store
        self.log = log
        #: The record of this task instance with other arguments; set by :meth:`take_up`.
        self.other: Paid | None = None
        self._parse = parse
        self._record: Paid | None = None
        self._owner = uuid.uuid4().hex
        #: Owner and revision of the stored record when it was last read or written; None: there was none.
        self._seen: tuple[str, int] | None = None

    @property
    def record(self) -> Paid:
        assert self._record is not None, "the run has not begun"
        return self._record

    @property
    def has_record(self) -> bool:
        return self._record is not None

    def take_up(self, fingerprint: str) -> Paid | None:
        """
        Take up the record of an earlier try, or of an earlier clear with the same arguments.

        An older process of this task that is still alive cannot write the record from then on.

        :param fingerprint: Of what this process would pay for.
        :return: None if there is none. Then call :meth:`start`.
        :raises PiktidRecordError: It cannot be read or written.
        """
        known = self._load()
        if known is None:
            return None
        self._record = known if known.fingerprint == fingerprint else self._earlier(known, fingerprint)
        if self._record is None:
            self.other = known
        elif not self._record.is_sent or self._record is not known:
            self.save()
        return self._record

    def start(self, record: Paid) -> None:
        """Begin with a new record; one of other arguments is kept in it."""
        if self.other is not None:
            record.earlier = _with_earlier(self.other)
            record.revision = self.other.revision
        self._record = record

    def save(self) -> None:
        """
        Write the record.

        :raises PiktidRecordError: It is not certain that it was written, or another process has written it since.
        """
        record = self.record
        if self.store.durable:
            self._require_unchanged(self.store.load())
        record.owner, record.revision = self._owner, record.revision + 1
        self.store.save(record)
        self._seen = _mark(record)

    def restore(self, resume_state: Mapping[str, Any], fingerprint: str | None = None) -> None:
        """
        Take the stored record after a wait, or what the trigger handed back where nothing is stored.

        :param fingerprint: Of what this process would pay for. Default: not compared.
        :raises PiktidRecordError: There is no record, or it is of other work than this process would pay for.
        """
        if self._record is None:
            self._record = self._load() or self._parse(resume_state.get("record"))
        if fingerprint not in (None, self._record.fingerprint):
            raise PiktidRecordError(
                "The task's arguments rendered differently after a wait than before it, so its record does not fit "
                f"them. Paid for so far: {self._record.job_ids or 'nothing'}. Use templates that render the same "
                "within a DAG run, then clear the task."
            )

    def warn_if_volatile(self) -> None:
        """Warn if a retry will not find the record."""
        if not self.store.durable:
            self.log.warning(
                "Submitted job ids are not persisted; a retry cannot re-attach reliably. This Airflow has no task "
                "state store: set `state_path` or [piktid] state_path to a folder that all workers can write to."
            )

    def _load(self) -> Paid | None:
        known = self.store.load()
        self._seen = _mark(known)
        return known

    def _require_unchanged(self, stored: Paid | None) -> None:
        if _mark(stored) == self._seen or (stored is not None and stored.owner == self._owner):
            return
        what = "has written" if stored is not None else "has removed"
        raise PiktidRecordError(
            f"Another process of this task {what} its record, so this one submits nothing more. Known here: "
            f"{self.record.job_ids or 'nothing'}. If a newer try is running, it continues the work; otherwise clear "
            "the task."
        )

    def _earlier(self, known: Paid, fingerprint: str) -> Paid | None:
        """Return the record of earlier arguments, with the current one as an earlier one."""
        for value in known.earlier:
            if value.get("fingerprint") == fingerprint:
                record = self._parse(value)
                record.earlier = [item for item in _with_earlier(known) if item is not value]
                record.revision = known.revision
                return record
        return None


def _mark(record: Any) -> tuple[str, int] | None:
    return (record.owner, record.revision) if record is not None else None


def _with_earlier(record: Any) -> list[dict[str, Any]]:
    """Return a record and its earlier ones as a list of JSON without nesting."""
    value = record.to_json()
    return [value | {"earlier": []}, *record.earlier]
