# SPDX-License-Identifier: Apache-2.0
"""Check a delivery of the webhook, without I/O."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from pydantic import ValidationError

from airflow_provider_piktid.client import verify_signature
from airflow_provider_piktid.jobs.ended import EndedJob, jobs_in, payload
from airflow_provider_piktid.models import Notification

#: Bytes of a body; documented notifications have a few hundred.
MAX_BODY: Final = 64 * 1024
#: Seconds after which a signed delivery is refused. It may be sent again by anyone who has seen it once.
MAX_AGE: Final = 24 * 3600.0
#: Seconds before an asset event in which an end of the same job with the same status is the same end.
SAME_END: Final = 60.0


class DeliveryRefused(Exception):
    """A delivery is not accepted; ``status`` is the HTTP status of the answer."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason


def read_delivery(body: bytes, signature: str | None, secrets: Iterable[str], now: float) -> Notification:
    """
    Check signature, form and age of a delivery.

    :param body: The raw body.
    :param signature: The header ``X-Webhook-Signature``; None if missing.
    :param secrets: The webhook's current secret and the previous one.
    :param now: Epoch seconds.
    :raises DeliveryRefused: 401 if no secret fits, 400 for anything else.
    """
    # All of them: which of the secrets fits must not show in the time taken.
    fits = [verify_signature(secret, body, signature) for secret in secrets]
    if not any(fits):
        raise DeliveryRefused(401, "The signature does not fit.")
    try:
        notification = Notification.model_validate(_object(body))
    except (ValueError, RecursionError, ValidationError):
        raise DeliveryRefused(400, "The body is not a notification.") from None
    if notification.timestamp is None:
        raise DeliveryRefused(400, "The notification has no timestamp.")
    # The signature has no time of its own. A time far ahead would make a delivery valid for longer.
    if not abs(now - notification.timestamp) <= MAX_AGE:
        raise DeliveryRefused(400, "The notification is too old.")
    return notification


def _object(body: bytes) -> Mapping[str, Any]:
    value = json.loads(body.decode("utf-8"))
    if not isinstance(value, dict) or not value:
        raise ValueError("not an object")
    return value


@dataclass(frozen=True)
class ReportedEnd:
    """
    An end that a delivery reports.

    :param told_at: Time of the notification, epoch seconds.
    :param key: What tells this end of the job from another one; None if PiktID does not say when it was.
    """

    job: EndedJob
    told_at: float
    key: str | None = None


def extra_of(ends: Iterable[ReportedEnd]) -> dict[str, Any]:
    """Return the extra of an event that reports ends."""
    reported = list(ends)
    keys = [end.key for end in reported if end.key is not None]
    return {"from_webhook": True, "payload": payload(end.job for end in reported), "ends": keys}


def is_known(end: ReportedEnd, events: Iterable[tuple[float, Mapping[str, Any]]]) -> bool:
    """
    Return whether an end of a job is in one of an asset's events already.

    It is if an event names the notification, or the end: PiktID may announce one end by several notifications. The
    events of the watcher do not name the end; there it is known if the event names the job with this status and was
    made within a minute after the notification, as the run that it starts finds the job's results.

    :param events: Time, epoch seconds, and extra of each event.
    """
    job = end.job
    for made_at, extra in events:
        ends = extra.get("ends")
        if end.key is not None and isinstance(ends, list) and end.key in ends:
            return True
        for known in jobs_in(extra):
            if known["job_id"] != job.job_id:
                continue
            if job.notification_id is not None and known.get("notification_id") == job.notification_id:
                return True
            if known.get("status") == job.status and end.told_at <= made_at <= end.told_at + SAME_END:
                return True
    return False
