# SPDX-License-Identifier: Apache-2.0
"""From a delivery of the webhook to asset events, wherever the receiver runs."""

from __future__ import annotations

import asyncio
import logging
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol

from airflow_provider_piktid.exceptions import PiktidError
from airflow_provider_piktid.hooks.piktid import PiktidHook, PiktidSettings, async_client
from airflow_provider_piktid.jobs.end_memory import end_key
from airflow_provider_piktid.jobs.ended import EndedJob, JobFilter, reports_end
from airflow_provider_piktid.webhook.delivery import DeliveryRefused, ReportedEnd, read_delivery

if TYPE_CHECKING:
    from airflow_provider_piktid.models import Notification
    from airflow_provider_piktid.models.v2 import Job

log = logging.getLogger(__name__)

#: Seconds that a connection is kept. A replaced secret is used after this time.
CONNECTION_SECONDS: Final = 5.0
#: Seconds that one delivery may take. PiktID does not document how long it waits for the answer.
DELIVERY_SECONDS: Final = 8.0


@dataclass(frozen=True)
class JobAsset:
    """An active asset of Airflow that reports jobs of the connection."""

    id: int
    name: str
    jobs: JobFilter


class Sink(Protocol):
    """Where asset events are registered."""

    async def assets(self, piktid_conn_id: str) -> list[JobAsset]:
        """Return the active assets that report jobs of a connection."""
        ...

    async def register(self, asset: JobAsset, end: ReportedEnd) -> bool:
        """Create an event of the asset; False if the end was known already."""
        ...


class WebhookReceiver:
    """
    Takes deliveries for one connection.

    :param piktid_conn_id: Connection whose extra has ``webhook_secret``; its token is used to ask for the status.
    :param sink: Where the events are registered.
    """

    def __init__(self, piktid_conn_id: str, sink: Sink) -> None:
        self._conn_id = piktid_conn_id
        self._sink = sink
        self._settings: PiktidSettings | None = None
        self._read_at = float("-inf")
        self._complaint = ""

    async def receive(self, body: bytes, signature: str | None) -> str:
        """
        Take one delivery and return what was done with it.

        :raises DeliveryRefused: It is not accepted. A status of 503 asks PiktID to deliver it again.
        """
        settings = await self._connection()
        notification = read_delivery(body, signature, settings.webhook_secrets, time.time())
        if notification.name == "ping":
            log.info("Received a test event of PiktID for connection %s.", self._conn_id)
            return "pong"
        if notification.job_id is None or not reports_end(notification):
            return "ignored"
        try:
            async with asyncio.timeout(DELIVERY_SECONDS):
                return await self._handle(settings, notification, notification.job_id)
        except DeliveryRefused:
            raise
        except TimeoutError:
            raise self._unavailable(f"a delivery took more than {DELIVERY_SECONDS:g} s") from None
        except PiktidError as error:
            raise self._unavailable(str(error)) from None
        except Exception as error:
            # The text of another library's error may contain a URL with a password, so only its type is logged.
            raise self._unavailable(f"could not register the event: {type(error).__name__}") from error

    async def _handle(self, settings: PiktidSettings, notification: Notification, job_id: str) -> str:
        assets = await self._sink.assets(self._conn_id)
        if not assets:
            return "ignored"
        async with async_client(settings, patient=False) as client:
            job = await client.get_job(job_id)
        if not job.done:
            # The status decides. PiktID delivers again, and by then the job has ended.
            raise DeliveryRefused(503, "The job has not ended.")
        self._complaint = ""
        return await self._register(assets, job, notification)

    async def _register(self, assets: list[JobAsset], job: Job, notification: Notification) -> str:
        end = ReportedEnd(EndedJob.of(job, notification.id), notification.timestamp or 0.0, end_key(job))
        done = "ignored"
        # In the same order everywhere, as each registration locks a row.
        for asset in sorted(assets, key=lambda asset: asset.id):
            if not asset.jobs.takes(job):
                continue
            made = await self._sink.register(asset, end)
            done = "accepted" if made or done == "accepted" else "known"
            if made:
                log.info("Job %s is %s: event of asset %s.", job.job_id, job.status, asset.name)
        return done

    async def _connection(self) -> PiktidSettings:
        """Return the settings of the connection, read every few seconds: anybody may send requests."""
        if self._settings is None or time.monotonic() - self._read_at > CONNECTION_SECONDS:
            try:
                self._settings = await PiktidHook(self._conn_id).aget_settings()
            except Exception as error:
                text = str(error) if isinstance(error, PiktidError) else type(error).__name__
                raise self._unavailable(f"could not read connection {self._conn_id}: {text}") from error
            self._read_at = time.monotonic()
        if not self._settings.webhook_secrets:
            raise self._unavailable(
                f"connection {self._conn_id} has no webhook_secret in its extra; "
                "PiktidHook.register_webhook returns one."
            )
        return self._settings

    def _unavailable(self, complaint: str) -> DeliveryRefused:
        """Log a complaint when it is new, and return the answer that asks for another delivery."""
        if complaint != self._complaint:
            log.error("The webhook of PiktID cannot be served: %s", complaint)
            self._complaint = complaint
        return DeliveryRefused(503, "Deliver again later.")
