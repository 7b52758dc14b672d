# SPDX-License-Identifier: Apache-2.0
"""The one event that a trigger of this package sends to its task."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, get_args

from airflow_provider_piktid.exceptions import PiktidError, PiktidEventError

EVENT_VERSION = 1

EventStatus = Literal["done", "slot", "timeout", "error"]
STATUSES: tuple[EventStatus, ...] = get_args(EventStatus)


@dataclass
class JobEvent:
    """
    The event of a trigger. JSON only, without links or secrets.

    :param status: ``done``: everything waited for has ended. ``slot``: the task has something to do now, such as
        submitting the next job. ``timeout``: the deadline passed. ``error``: waiting cannot go on; ``message``
        says why.
    :param ended: Job id, or label of a generation, to its last status, for those that have ended.
    :param permanent: Whether the error will come back at every retry.
    :param notification_ids: Notifications about these jobs that were read; the task deletes them.
    :param resume_state: What the task gave the trigger to hand back. ``DAG.test()`` of Airflow 3.3 drops the
        keyword arguments of a deferral, but not the event.
    """

    status: EventStatus
    ended: dict[str, str] = field(default_factory=dict)
    message: str = ""
    permanent: bool = False
    notification_ids: list[int] = field(default_factory=list)
    resume_state: dict[str, Any] = field(default_factory=dict)
    version: int = EVENT_VERSION

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, value: Any, *, expected: Iterable[EventStatus] = STATUSES) -> JobEvent:
        """
        Check the payload of an event.

        :param expected: Statuses that make sense where the task resumes.
        :raises PiktidEventError: Missing, malformed, of a newer version, or with a status not expected here.
        """
        if not isinstance(value, Mapping) or value.get("status") not in STATUSES:
            raise PiktidEventError(
                f"Unexpected trigger event payload of type {type(value).__name__}. A retry attaches to "
                "the same jobs."
            )
        try:
            event = cls(
                status=value["status"],
                ended={str(key): str(word) for key, word in dict(value.get("ended") or {}).items()},
                message=str(value.get("message") or ""),
                permanent=bool(value.get("permanent")),
                notification_ids=[int(item) for item in value.get("notification_ids") or []],
                resume_state=dict(value.get("resume_state") or {}),
                version=int(value.get("version") or 0),
            )
        except (TypeError, ValueError) as error:
            raise PiktidEventError(
                "The trigger event has fields of the wrong type. A retry attaches to the same jobs."
            ) from error
        if event.version > EVENT_VERSION:
            raise event._mismatch()
        event.require(*expected)
        return event

    def require(self, *expected: EventStatus) -> None:
        """
        Check that the status makes sense where the task resumes.

        :raises PiktidEventError: It does not.
        """
        if self.status not in expected:
            raise self._mismatch()

    def _mismatch(self) -> PiktidEventError:
        return PiktidEventError(
            f"Unexpected event {self.status!r} of version {self.version}: triggerer and worker run different "
            "versions of airflow-provider-piktid. Update both; a retry attaches to the same jobs."
        )

    def raise_for_error(self) -> None:
        """
        Raise the error that a trigger reported.

        :raises PiktidError: The status is ``error``.
        """
        if self.status != "error":
            return
        error = PiktidError(f"{self.message} The work continues at PiktID; a retry attaches to it.")
        error.permanent = self.permanent
        raise error
