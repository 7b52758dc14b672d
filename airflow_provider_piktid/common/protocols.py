# SPDX-License-Identifier: Apache-2.0
"""What a kind of paid work provides to the kernel, and what its runs say to the operator."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, TypeAlias, TypeVar

from airflow_provider_piktid.common.events import JobEvent
from airflow_provider_piktid.exceptions import PiktidError, PiktidSubmissionError


class Log(Protocol):
    """A standard logger, or Airflow's own."""

    def info(self, msg: Any, /, *args: Any) -> Any: ...
    def warning(self, msg: Any, /, *args: Any) -> Any: ...


ItemT = TypeVar("ItemT", contravariant=True)


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
