# SPDX-License-Identifier: Apache-2.0
"""
The kernel of paid work: record each paid request, and send it once.

The intent is stored before a request, its outcome after it. A request whose reply was lost is looked for at PiktID
before anything else happens to it. What differs between kinds of work is behind :class:`PaidPort`.

A run says what it needs next: to wait, or nothing more. The operator decides whether a trigger waits or this worker.
"""

from __future__ import annotations

import logging
import math
import time
import uuid
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Generic, Literal, TypeVar

from airflow_provider_piktid.common import metrics
from airflow_provider_piktid.common.protocols import Log, PaidPort, SlotWait
from airflow_provider_piktid.common.records import PaidRecord, Store, taken_over
from airflow_provider_piktid.exceptions import (
    PiktidBudgetError,
    PiktidConfigError,
    PiktidError,
    PiktidRecordError,
    PiktidSubmissionError,
)

#: PiktID's own clients poll every 5 seconds; anything below this only uses up the account's rate.
MIN_POLL_INTERVAL = 3.0


@dataclass(frozen=True, kw_only=True)
class Terms:
    """
    What a DAG author decides about any paid work. Units and defaults: see the operators.

    :param connection: Connection id, for messages.
    :param deferrable: Whether a trigger waits. Otherwise this worker does.
    """

    connection: str
    deferrable: bool = False
    poll_interval: float = 10.0
    timeout: float = 3600.0
    queue_timeout: float = 86400.0
    fail_on_partial: bool = False
    delete_notifications: bool = True
    max_images: Any = None
    max_credits: Any = None
    credits_per_output: float | None = None
    rerun_key: str | None = None
    on_lost_reply: Literal["fail", "resubmit"] = "fail"
    lost_reply_grace: float = 30.0

    def check(self) -> None:
        """
        Check the values that are not templates.

        :raises PiktidConfigError: Not a number, polling too often, or a policy that does not exist.
        """
        price = () if self.credits_per_output is None else ("credits_per_output",)
        for name in ("timeout", "queue_timeout", "lost_reply_grace", "poll_interval", *price):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < math.inf:
                raise PiktidConfigError(f"{name} must be a number from 0, not {value!r}")
        if self.poll_interval < MIN_POLL_INTERVAL:
            raise PiktidConfigError(
                f"poll_interval must be {MIN_POLL_INTERVAL:g} seconds or more, not {self.poll_interval}"
            )
        if self.on_lost_reply not in ("fail", "resubmit"):
            raise PiktidConfigError(f"on_lost_reply must be 'fail' or 'resubmit', not {self.on_lost_reply!r}")

    def check_budget(self, images: int, outputs: int, price: float = 1.0, *, more: float = 0.0) -> None:
        """
        Compare paid work with the author's limits, which may be text, as templates give it.

        :param images: Number of pictures that are paid for.
        :param price: Credits for one output, unless the author states another price. Default: 1.
        :param more: Credits for anything else. Default: none.
        :raises PiktidBudgetError: It is larger. Nothing was sent.
        :raises PiktidConfigError: A limit is not a number.
        """
        allowed = _limit(self.connection, "max_images", self.max_images)
        if images > allowed:
            raise PiktidBudgetError(
                f"{self.connection}: {images} images exceed max_images={self.max_images}. Nothing was submitted. "
                "Raise the limit or pass fewer images."
            )
        cost = more + outputs * (price if self.credits_per_output is None else self.credits_per_output)
        if cost > _limit(self.connection, "max_credits", self.max_credits):
            raise PiktidBudgetError(
                f"{self.connection}: an estimated {cost:g} credits exceed max_credits={self.max_credits}. Nothing "
                "was submitted. Raise the limit or ask for fewer outputs."
            )


def _limit(connection: str, name: str, value: Any) -> float:
    """Return a limit as a number, infinity for none. ``nan`` would allow anything, so it is refused."""
    try:
        limit = math.inf if value is None or value == "" else float(value)
    except (TypeError, ValueError):
        limit = math.nan
    if not limit >= 0:
        raise PiktidConfigError(
            f"{connection}: {name} must be a number from 0, not {value!r}. Nothing was submitted."
        )
    return limit


@dataclass(kw_only=True)
class PaidRequest:
    """
    One paid request and what became of it.

    :param state: ``planned``: never sent. ``intent``: sent, or about to be; no reply was seen. ``submitted``:
        PiktID accepted it. Kinds of work may add further states.
    :param intent_at: When it was about to be sent, epoch seconds.
    :param resubmitted: Sent again after a lost reply (``on_lost_reply='resubmit'``); never a third time.
    :param failure: Why this try of the task goes on without it; None: it does not. The next try begins with None.
    :param is_permanent: Whether that cannot be different in the next try.
    """

    #: One in another state could be sent, and paid for, again.
    STATES: ClassVar[tuple[str, ...]] = ("planned", "intent", "submitted")
    #: Whether PiktID answers a repeated request with what the first one did, so that it cannot be paid for twice.
    REPEATABLE: ClassVar[bool] = False

    state: str = "planned"
    intent_at: float | None = None
    resubmitted: bool = False
    failure: str | None = None
    is_permanent: bool = False

    def __post_init__(self) -> None:
        if self.state not in self.STATES:
            raise ValueError(f"unknown state {self.state!r}")

    def plan_again(self) -> None:
        """Let it be sent again."""
        self.state, self.intent_at = "planned", None


Item = TypeVar("Item", bound=PaidRequest)


class PaidRequests(Generic[Item]):
    """
    The paid requests of one record, in order.

    :param save: Writes the record; called before and after each request.
    :param concerns_one: Whether an error is about one request only, so that the others go on. Default: never.
    """

    def __init__(
        self,
        items: Iterable[Item],
        port: PaidPort[Item],
        terms: Terms,
        *,
        save: Callable[[], None],
        concerns_one: Callable[[PiktidError], bool] = lambda error: False,
        log: Log | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._items = items
        self._port = port
        self._terms = terms
        self._save = save
        self._concerns_one = concerns_one
        self._log = log or logging.getLogger(__name__)
        self._clock = clock

    def advance(self) -> SlotWait | None:
        """
        Send as many requests as possible now.

        :return: None if all are sent, but for those with a ``failure``; else what to wait for before calling this
            again.
        :raises PiktidSubmissionError: The fate of a request stays unknown and ``on_lost_reply`` is ``fail``.
        :raises PiktidError: PiktID refused for another reason than its limits.
        """
        for item in self._items:
            try:
                wait = None if item.failure else self._settle(item)
            except PiktidError as error:
                if not self._concerns_one(error):
                    raise
                item.failure, item.is_permanent, wait = str(error), error.permanent, None
                self._log.warning("%s The other requests go on.", error)
                self._save()
            if wait:
                return wait
        return None

    def _settle(self, item: Item) -> SlotWait | None:
        """Send one request, or find out what became of it."""
        wait = self._resolve(item) if item.state == "intent" else None
        while wait is None and item.state == "planned":
            wait = self._port.ready(item) or self._send(item)
        return wait

    def resubmit(self, item: Item) -> bool:
        """Plan a request with unknown fate again if that is safe or the author's choice; at most once for each."""
        if item.resubmitted or not (item.REPEATABLE or self._terms.on_lost_reply == "resubmit"):
            return False
        how = "it is not charged twice" if item.REPEATABLE else "`on_lost_reply='resubmit'`, may pay twice"
        label = self._port.label(item)
        self._log.warning("No trace of %s at PiktID after a lost reply. Sending it again: %s.", label, how)
        metrics.count("bought_again", not item.REPEATABLE)
        item.plan_again()
        item.resubmitted = True
        self._save()
        return True

    def _send(self, item: Item) -> SlotWait | None:
        item.state, item.intent_at = "intent", self._clock()
        self._save()
        try:
            self._port.send(item)
        except PiktidSubmissionError as error:
            self._log.warning("%s Looking for it at PiktID first.", error)
            return self._resolve(item)
        except PiktidError as error:
            item.plan_again()
            self._save()
            return self._port.refused(item, error)
        item.state = "submitted"
        self._save()
        return None

    def _resolve(self, item: Item) -> SlotWait | None:
        """Find out what became of a request whose reply was lost."""
        found = self._port.find(item)
        if found:
            item.state = "submitted"
            self._save()
        if found or found is None:
            return None
        complete_at = (item.intent_at or 0.0) + self._terms.lost_reply_grace
        if self._clock() < complete_at:
            return SlotWait("a reply was lost and PiktID may not list the request yet", complete_at)
        if not self.resubmit(item):
            raise self._port.unknown(item)
        return None


Paid = TypeVar("Paid", bound=PaidRecord)


class RecordedWork(Generic[Paid]):
    """
    What every kind of run does with its record.

    Every write first compares the stored record with what this process read or wrote last, so a process that still runs
    when its retry begins stops before it pays again; of two that compare within milliseconds, one write later.

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
        :raises PiktidRecordError: It cannot be read or written, or others have taken over what is not sent.
        """
        known = self._load()
        if known is None:
            return None
        self._record = known if known.fingerprint == fingerprint else self._earlier(known, fingerprint)
        if known.closed_by and (self._record is None or not self._record.is_sent):
            raise taken_over(known)
        if self._record is None:
            self.other = known
        elif not self._record.is_sent or self._record is not known:
            self.save()
        metrics.count("attached", len(self._record.job_ids) if self._record else 0)
        return self._record

    def continue_with(self, record: Paid, *, stored: bool) -> None:
        """
        Take a record that was read before, or a new one, so that :meth:`save` writes it unless others have meanwhile.

        :param stored: Whether it was read from the store.
        """
        self._record, self._seen = record, _mark(record) if stored else None

    def start(self, record: Paid) -> None:
        """Begin with a new record; one of other arguments is kept in it."""
        if self.other is not None:
            is_empty = self.other.is_sent and not self.other.job_ids
            record.earlier = self.other.earlier if is_empty else self.other.with_earlier()
            record.revision = self.other.revision
            metrics.count("bought_again", bool(self.other.job_ids))
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
        if self._record.closed_by and not self._record.is_sent:
            raise taken_over(self._record)
        if fingerprint is not None:
            self.require_same(self._record.fingerprint, fingerprint)

    def require_same(self, recorded: str, rendered: str) -> None:
        """
        Compare digests of the arguments: a record must not be used for other work than it is of.

        :raises PiktidRecordError: They differ.
        """
        if recorded != rendered:
            raise PiktidRecordError(
                "The task's arguments rendered differently after a wait than before it, so its record does not fit "
                f"them. Paid for so far: {self.record.job_ids or 'nothing'}. Use templates that render the same "
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
                record.earlier = [item for item in known.with_earlier() if item is not value]
                record.revision = known.revision
                return record
        return None


def _mark(record: Any) -> tuple[str, int] | None:
    return (record.owner, record.revision) if record is not None else None
