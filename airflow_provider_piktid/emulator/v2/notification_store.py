# SPDX-License-Identifier: Apache-2.0
"""The notifications of v2, stored and sent to streams."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Any

from ..core import Core
from ..notification_store import NotificationStore
from .entities import Notification
from .job import Job


class Subscription:
    """The queue of one stream. Filled from any thread, read on the event loop that created it."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._ready = asyncio.Event()
        self.waiting: deque[Notification] = deque()
        self.closed = False

    def push(self, notification: Notification | None) -> None:
        """Add a notification; None closes the stream."""
        if notification is None:
            self.closed = True
        else:
            self.waiting.append(notification)
        try:
            self._loop.call_soon_threadsafe(self._ready.set)
        except RuntimeError:
            self.closed = True

    async def wait(self) -> None:
        """Return when a notification is waiting or the stream must close."""
        while not self.waiting and not self.closed:
            self._ready.clear()
            await self._ready.wait()


class NotificationFilter:
    """A reader's filter of notifications; an empty set matches all."""

    def __init__(self, jobs: set[str], images: set[str], names: set[str]) -> None:
        self._jobs, self._images, self._names = jobs, images, names

    def __call__(self, notification: Notification) -> bool:
        data = notification.data
        if self._names and notification.name not in self._names:
            return False
        if self._jobs and not self._jobs & {data.get("id_task"), data.get("job_id")}:
            return False
        return not self._images or data.get("id_image") in self._images


class V2Notifications(NotificationStore[Notification]):
    """The notifications of v2, which are also sent to streams."""

    def __init__(self, core: Core) -> None:
        super().__init__(core, first=1)
        self._subscriptions: list[Subscription] = []

    @property
    def streams(self) -> int:
        """The number of open streams."""
        return len(self._subscriptions)

    def publish(self, name: str, data: dict[str, Any]) -> Notification:
        """Store a notification and send it to all streams and to the webhook."""
        with self._core.lock:
            notification = self._add(lambda number, now: Notification(number, name, data, now))
            for subscription in self._subscriptions:
                subscription.push(notification)
        self._notify(notification)
        return notification

    def subscribe(self) -> tuple[list[Notification], Subscription]:
        """Return the current notifications, and a subscription to all later ones."""
        with self._core.lock:
            subscription = Subscription()
            self._subscriptions.append(subscription)
            return self.current(), subscription

    def unsubscribe(self, subscription: Subscription) -> None:
        with self._core.lock:
            if subscription in self._subscriptions:
                self._subscriptions.remove(subscription)

    def close(self) -> None:
        """Close all streams."""
        with self._core.lock:
            for subscription in self._subscriptions:
                subscription.push(None)

    # Notifications of jobs -----------------------------------------------------------------------------

    def job_data(self, job: Job, **more: Any) -> dict[str, Any]:
        """Return event data with the job id under the keys that the variant sets."""
        keys = self._core.variants["job_id_key"]
        ids = {key: job.job_id for key in ("id_task", "job_id") if keys in (key, "both")}
        return {**ids, **more}

    def job_changed(self, job: Job) -> None:
        """Publish a job's status, under the event names that the variant sets."""
        names = self._core.variants["events"]
        if names in ("both", "docs"):
            data = self.job_data(job, job_type=job.job_type, status=job.status)
            self._of_job(job, "batch_edit", data)
        if names in ("both", "seed") and job.ended:
            name = "completed" if job.status == "completed" else "error"
            more = {} if job.error_message is None else {"error_message": job.error_message}
            self._of_job(job, name, self.job_data(job, status=job.status, **more))

    def image_finished(self, job: Job, **row: Any) -> None:
        """Publish that an output is finished."""
        if self._core.variants["events"] != "seed":
            self._of_job(job, "image_result", self.job_data(job, **row))

    def _of_job(self, job: Job, name: str, data: dict[str, Any]) -> None:
        fault = job.faults.get("lose_notifications")
        if fault is not None:
            names = fault.get("names", None)
            if names is None or name in names:
                return
        self.publish(name, data)
