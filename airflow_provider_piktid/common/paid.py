# SPDX-License-Identifier: Apache-2.0
"""
The kernel of paid work: send each paid request once.

The intent is stored before a request, its outcome after it. A request whose reply was lost is looked for at PiktID
before anything else happens to it. What differs between kinds of work is behind :class:`PaidPort`.

A run says what it needs next: to wait, or nothing more. The operator decides whether a trigger waits or this worker.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Generic, Literal, Protocol, TypeAlias, TypeVar

from airflow_provider_piktid.common.events import JobEvent
from airflow_provider_piktid.exceptions import (
    PiktidBudgetError,
    PiktidConfigError,
    PiktidError,
    PiktidSubmissionError,
)

#: PiktID's own clients poll every 5 seconds; anything below this only uses up the account's rate.
MIN_POLL_INTERVAL = 3.0

OnLostReply = Literal["fail", "resubmit"]


class Log(Protocol):
    """A standard logger, or Airflow's own."""

    def info(self, msg: Any, /, *args: Any) -> Any: ...
    def warning(self, msg: Any, /, *args: Any) -> Any: ...


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
    credits_per_output: float = 1.0
    rerun_key: str | None = None
    on_lost_reply: OnLostReply = "fail"
    lost_reply_grace: float = 30.0

    def check(self) -> None:
        """
        Check the values that are not templates.

        :raises PiktidConfigError: Polling too often, or a policy that does not exist.
        """
        if self.poll_interval < MIN_POLL_INTERVAL:
            raise PiktidConfigError(
                f"poll_interval must be {MIN_POLL_INTERVAL:g} seconds or more, not {self.poll_interval}"
            )
        if not 0 <= self.credits_per_output < math.inf:
            raise PiktidConfigError(
                f"credits_per_output must be a number from 0, not {self.credits_per_output}"
            )
        if self.on_lost_reply not in ("fail", "resubmit"):
            raise PiktidConfigError(f"on_lost_reply must be 'fail' or 'resubmit', not {self.on_lost_reply!r}")

    def check_budget(self, images: int, cost: float) -> None:
        """
        Compare paid work with the author's limits, which may be text, as templates give it.

        :param images: Number of pictures that are paid for.
        :param cost: Their estimated credits.
        :raises PiktidBudgetError: It is larger. Nothing was sent.
        :raises PiktidConfigError: A limit is not a number.
        """
        allowed = _limit(self.connection, "max_images", self.max_images)
        if images > allowed:
            raise PiktidBudgetError(
                f"{self.connection}: {images} images exceed max_images={self.max_images}. Nothing was submitted. "
                "Raise the limit or pass fewer images."
            )
        if cost > _limit(self.connection, "max_credits", self.max_credits):
            raise PiktidBudgetError(
                f"{self.connection}: an estimated {cost:g} credits exceed max_credits={self.max_credits}. Nothing "
                "was submitted. Raise the limit or ask for fewer outputs."
            )


def _limit(connection: str, name: str, value: Any) -> float:
    """Return a limit as a number, infinity for none. ``nan`` would allow anything, so it is refused."""
    if value is None or value == "":
        return math.inf
    try:
        limit = float(value)
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
    """

    #: One in another state could be sent, and paid for, again.
    STATES: ClassVar[tuple[str, ...]] = ("planned", "intent", "submitted")

    state: str = "planned"
    intent_at: float | None = None
    resubmitted: bool = False

    def __post_init__(self) -> None:
        if self.state not in self.STATES:
            raise ValueError(f"unknown state {self.state!r}")

    def plan_again(self) -> None:
        """Let it be sent again."""
        self.state, self.intent_at = "planned", None


Item = TypeVar("Item", bound=PaidRequest)
ItemT = TypeVar("ItemT", bound=PaidRequest, contravariant=True)


@dataclass(frozen=True)
class SlotWait:
    """
    Why the next request cannot be sent now.

    :param not_before: Epoch seconds before which trying again is pointless ...
    :param until_job_ends: ... unless one of the task's jobs ends.
    """

    reason: str
    not_before: float
    until_job_ends: bool = False


class PaidPort(Protocol[ItemT]):
    """What the kernel needs of one kind of paid work."""

    def ready(self, item: ItemT) -> SlotWait | None:
        """Prepare a request; return what to wait for if it may not be sent now."""
        ...

    def send(self, item: ItemT) -> None:
        """
        Send the request and note what PiktID answered in the item.

        :raises PiktidSubmissionError: The reply was lost.
        :raises PiktidError: PiktID refused; nothing was paid.
        """
        ...

    def find(self, item: ItemT) -> bool | None:
        """
        Look for a request whose reply was lost.

        :return: True: found, and noted in the item. False: PiktID does not show it. None: the wait for results
            will tell; the other requests need not wait for that.
        """
        ...

    def refused(self, item: ItemT, error: PiktidError) -> SlotWait | None:
        """Return what to wait for after a refusal, None to go on with the next request; or raise the error."""
        ...

    def unknown(self, item: ItemT) -> PiktidSubmissionError:
        """Return the error for a request whose fate stays unknown."""
        ...

    def label(self, item: ItemT) -> str:
        """Return what messages call the request."""
        ...


class PaidRequests(Generic[Item]):
    """
    The paid requests of one record, in order.

    :param save: Writes the record; called before and after each request.
    """

    def __init__(
        self,
        items: Iterable[Item],
        port: PaidPort[Item],
        terms: Terms,
        *,
        save: Callable[[], None],
        log: Log | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._items = items
        self._port = port
        self._terms = terms
        self._save = save
        self._log = log or logging.getLogger(__name__)
        self._clock = clock

    def advance(self) -> SlotWait | None:
        """
        Send as many requests as possible now.

        :return: None if all are sent, else what to wait for before calling this again.
        :raises PiktidSubmissionError: The fate of a request stays unknown and ``on_lost_reply`` is ``fail``.
        :raises PiktidError: PiktID refused for another reason than its limits.
        """
        for item in self._items:
            wait = self._resolve(item) if item.state == "intent" else None
            while wait is None and item.state == "planned":
                wait = self._port.ready(item) or self._send(item)
            if wait:
                return wait
        return None

    def resubmit(self, item: Item) -> bool:
        """Plan a request with unknown fate again if the author chose that; at most once for each request."""
        if self._terms.on_lost_reply != "resubmit" or item.resubmitted:
            return False
        self._log.warning(
            "PiktID shows no trace of %s after a lost reply. Resubmitting (`on_lost_reply='resubmit'`), which may "
            "pay twice.",
            self._port.label(item),
        )
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


WaitKind = Literal["slot", "jobs", "versions", "generations"]


@dataclass(frozen=True, kw_only=True)
class Wait:
    """
    A wait that a trigger or this worker can do, with the same outcome.

    :param kind: Which trigger.
    :param arguments: Its arguments.
    :param until: Epoch seconds at which it ends at the latest.
    :param message: For the log.
    :param here: Waits on this thread and returns the event that the trigger would send.
    """

    kind: WaitKind
    arguments: Mapping[str, Any]
    until: float
    message: str
    here: Callable[[], JobEvent] = field(repr=False)


@dataclass(frozen=True)
class Finished:
    """The work is done; ``result`` is what the task returns."""

    result: Any


Step: TypeAlias = Wait | Finished


class PaidRun(Protocol):
    """What one process does of a task's paid work: from ``execute`` or a resume to the end or the next wait."""

    @property
    def outstanding(self) -> list[str]:
        """What was paid for and has not ended, for messages."""
        ...

    def begin(self) -> Step:
        """Take up the record of an earlier try, or start one, and go on as far as possible."""
        ...

    def resume(self, event: JobEvent) -> Step:
        """Go on after a wait."""
        ...

    def leave(self) -> None:
        """Publish what is known, whatever ended this process's part."""
        ...
