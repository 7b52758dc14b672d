# SPDX-License-Identifier: Apache-2.0
"""The client of the v2 API."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Final, TypeVar

import anyio
import httpx

from airflow_provider_piktid.client import _build as build
from airflow_provider_piktid.client._calls import ApiCalls, existing_project, nothing, promoted_before
from airflow_provider_piktid.client._http import HttpSession, Sleep, bearer
from airflow_provider_piktid.client._parse import as_model, as_models
from airflow_provider_piktid.client._retry import RetrySettings
from airflow_provider_piktid.client._stream import SILENCE, StreamFrame, read_frames
from airflow_provider_piktid.client._transfer import ByteSource, ByteStream, fetch_link, put_link
from airflow_provider_piktid.exceptions import PiktidConflictError, PiktidLinkError, PiktidNotFoundError
from airflow_provider_piktid.get_provider_info import (
    DEFAULT_BASE_URL,
    DEFAULT_IMAGES_PER_JOB,
    DEFAULT_TIMEOUT,
)
from airflow_provider_piktid.models import (
    CreditsUsed,
    DownloadLink,
    ExtractedPreset,
    GalleryJob,
    Identity,
    IdentityStatus,
    ImageResult,
    Job,
    JobCreated,
    JobResults,
    JobType,
    Notification,
    Project,
    PromotedIdentity,
    UploadTicket,
    Webhook,
)

T = TypeVar("T")

#: Links that one upload may use.
UPLOAD_LINKS: Final = 3


class AsyncPiktidClient(ApiCalls):
    """
    A client of PiktID v2. Use it with ``async with``, or call :meth:`aclose`.

    Every call raises errors of :mod:`airflow_provider_piktid.exceptions`, and ``ValueError`` for invalid
    arguments. A 429 is waited out; broken connections and 5xx are retried where that cannot pay twice.

    :param token: API token, sent only to ``base_url``.
    :param base_url: Root of the API. Default: the public service.
    :param timeout: Seconds until one read or write of a request times out. Default: 60.
    :param retry: When requests are retried. Default: ``RetrySettings()``.
    :param label: Name of the connection, for messages. Default: ``PiktID``.
    :param transport: Replaces the network, for tests.
    :param sleep: Replaces waiting, for tests.
    :raises PiktidConfigError: The token or the base URL is invalid.
    """

    def __init__(
        self,
        token: str,
        *,
        base_url: str = DEFAULT_BASE_URL,
        timeout: float = DEFAULT_TIMEOUT,
        retry: RetrySettings | None = None,
        label: str = "PiktID",
        transport: httpx.AsyncBaseTransport | None = None,
        sleep: Sleep = anyio.sleep,
    ) -> None:
        self._http = HttpSession(
            base_url=base_url,
            authorization=bearer(token, label),
            secret=token.strip(),
            timeout=timeout,
            retry=retry or RetrySettings(),
            label=label,
            transport=transport,
            sleep=sleep,
        )

    async def ensure_project(self, name: str) -> Project:
        """
        Create a project, or return the existing one of this name.

        :param name: 1 to 128 characters.
        """
        try:
            project = await self._model(build.create_project(name), Project, project_name=name)
            return project if project.has_key else await self._find_project(name) or project
        except PiktidConflictError as exc:
            existing = existing_project(exc, name) or await self._find_project(name)
            if existing is None:
                raise
            return existing

    def iter_projects(self) -> AsyncIterator[Project]:
        """List all projects."""
        return self._pages(build.list_projects, Project, "projects")

    async def request_upload(self, filename: str, *, project_name: str | None = None) -> UploadTicket:
        """
        Request a link for the upload of one image. The link is short-lived.

        :param project_name: Sent only if given: only the oldest servers need it. Default: not sent.
        """
        return await self._model(
            build.request_upload(filename, project_name), UploadTicket, filename=filename
        )

    async def put_upload(self, ticket: UploadTicket, source: ByteSource | bytes) -> None:
        """
        Upload the image to its link, with exactly the ticket's content type and without the token.

        :raises PiktidLinkError: The link has expired; request another.
        """
        await put_link(self._http, ticket, source)

    async def upload_image(
        self, filename: str, source: ByteSource | bytes, *, project_name: str | None = None
    ) -> UploadTicket:
        """Request a link and upload the image to it; if the link expires, request up to two more."""
        links = 1
        while True:
            ticket = await self.request_upload(filename, project_name=project_name)
            try:
                await self.put_upload(ticket, source)
            except PiktidLinkError:
                if links >= UPLOAD_LINKS:
                    raise
                links += 1
            else:
                return ticket

    async def upload_identity(
        self, filename: str, image: bytes, *, name: str | None = None, tag: str | None = None
    ) -> Identity:
        """
        Upload a picture of one person, or return the existing identity of this name.

        :param image: Encoded image with exactly one visible face.
        :param name: Unique per account. Default: none; then the upload is not retried after a lost reply.
        :param tag: Passed to the API. Default: none.
        """
        try:
            return await self._model(build.upload_identity(filename, image, name, tag), Identity, name=name)
        except PiktidConflictError as exc:
            body = exc.body or {}
            code = body.get("existing_identity_code") or body.get("identity_code")
            if isinstance(code, str) and code:
                return await self.get_identity(code)
            if name is not None:
                async for identity in self.iter_identities(search=name):
                    if identity.name == name:
                        return identity
            raise

    async def get_identity(self, identity_code: str) -> Identity:
        """Get one identity."""
        return await self._model(build.get_identity(identity_code), Identity, identity_code=identity_code)

    def iter_identities(
        self,
        *,
        search: str | None = None,
        ownership: str | None = None,
        include_locked: bool | None = None,
    ) -> AsyncIterator[Identity]:
        """
        List identities, newest first.

        :param ownership: ``mine``, ``shared`` or ``default``. Default: all.
        """

        def page(number: int) -> build.Request:
            return build.list_identities(number, search, ownership, include_locked)

        return self._pages(page, Identity, "identities")

    async def get_identity_status(self, identity_code: str) -> IdentityStatus:
        """Get the state of an identity's preprocessing."""
        return await self._model(build.get_identity_status(identity_code), IdentityStatus)

    async def promote_identity(
        self, image_result_id: int, *, name: str | None = None, wait: bool = True
    ) -> PromotedIdentity:
        """
        Make an identity of a draft. This costs 50 credits, and is not retried if the request may have arrived.

        PiktID refuses to promote a draft twice and names its identity, which is then returned.

        :param image_result_id: Number of the draft: ``image_result_id``, else ``id``, of a result.
        :param name: Name of the identity, unique in the account. Default: that of the job, changed if it is taken.
        :param wait: False raises a 429 at once instead of waiting it out. Default: True.
        :raises PiktidSubmissionError: The request may have arrived.
        :raises PiktidNotFoundError: The draft does not exist.
        :raises PiktidConflictError: The name is taken.
        :raises PiktidQuotaError: The account has reached its limit of identities.
        """
        request = build.promote_identity(image_result_id, name)
        try:
            return await self._http.call(
                request, lambda answer: as_model(answer, PromotedIdentity), wait=wait
            )
        except PiktidConflictError as exc:
            identity = promoted_before(exc)
            if identity is None:
                raise
            return identity

    async def extract_preset(
        self, file_id: str, preset_type: str = "flat_2_model", *, wait: bool = True
    ) -> ExtractedPreset:
        """
        Read the settings of a style from an uploaded picture. This costs credits, and is answered at once.

        It is not retried if the request may have arrived: PiktID does not show the answer again.

        :param preset_type: Type of the job that it is for, passed through. Default: ``flat_2_model``, as PiktID's.
        :param wait: False raises a 429 at once instead of waiting it out. Default: True.
        :raises PiktidSubmissionError: The request may have arrived.
        """
        request = build.extract_preset(file_id, preset_type)
        return await self._http.call(request, lambda answer: as_model(answer, ExtractedPreset), wait=wait)

    async def create_job(
        self,
        job: JobType,
        images: Sequence[str],
        *,
        images_per_job: int = DEFAULT_IMAGES_PER_JOB,
        wait: bool = True,
    ) -> JobCreated:
        """
        Start a job. This costs credits, and is not retried if the request may have arrived.

        :param job: Type of the job with its options, such as
            :class:`airflow_provider_piktid.models.model_swap.ModelSwap`.
        :param images: ``file_id`` values, each once.
        :param images_per_job: The account's limit. Default: 10, from PiktID's reference.
        :param wait: False raises a 429 at once instead of waiting it out. Default: True.
        :raises ValueError: The images are invalid. Nothing was sent.
        :raises PiktidSubmissionError: The request may have arrived; look for the job before paying again.
        :raises PiktidActiveJobsError: The account's limit of active jobs is reached.
        :raises PiktidCreditsError: Out of credits.
        """
        job.check(images, images_per_job)
        sent = build.Request(
            method="POST",
            path=job.path,
            what=f"start a {job.noun}",
            repeatable=False,
            paid=True,
            json=job.body(images),
        )
        return await self._http.call(sent, lambda answer: as_model(answer, JobCreated), wait=wait)

    async def get_job(self, job_id: str) -> Job:
        """
        Get the state of a job.

        :raises PiktidNotFoundError: The job does not exist, or is new and not visible yet.
        """
        return await self._model(build.get_job(job_id), Job, job_id=job_id)

    async def get_job_results(self, job_id: str) -> JobResults:
        """Get the newest version of each output; incomplete while the job runs."""
        return await self._model(build.get_job_results(job_id), JobResults, job_id=job_id)

    async def get_image_versions(self, job_id: str, image_index: int) -> list[ImageResult]:
        """Get all versions of one input's outputs, over all groups."""
        request = build.get_image_versions(job_id, image_index)
        return await self._http.call(request, lambda answer: as_models(answer, ImageResult, "versions"))

    async def regenerate_image(
        self, job_id: str, image_index: int, *, group_index: int = 0, wait: bool = True
    ) -> None:
        """
        Make a new version of one output. PiktID does not document the price: it counts as paid.

        :param wait: False raises a 429 at once instead of waiting it out. Default: True.
        :raises PiktidSubmissionError: The request may have arrived; look at the versions first.
        """
        request = build.regenerate_image(job_id, image_index, group_index)
        await self._http.call(request, nothing, wait=wait)

    def iter_gallery_jobs(
        self,
        *,
        project_id: str | int | None = None,
        job_id: str | None = None,
        status: str | None = None,
        job_type: str | None = None,
        order: str = "desc",
    ) -> AsyncIterator[GalleryJob]:
        """
        List jobs with their images, newest first.

        :param project_id: Passed through. Whether the server expects the number or the key is undocumented.
        """

        def page(number: int) -> build.Request:
            return build.list_gallery_jobs(number, project_id, job_id, status, job_type, order)

        return self._pages(page, GalleryJob, "jobs")

    def stream_notifications(
        self,
        *,
        job_id: str | None = None,
        names: Sequence[str] | None = None,
        silence: float = SILENCE,
    ) -> AsyncIterator[StreamFrame]:
        """
        Read the notification stream over one connection, until it ends.

        Notifications may be lost, repeated or late: request the job's status after ``backfill_complete`` and
        after each event of the job. Close the iterator to stop early.

        :param job_id: Stream only this job. Default: all jobs of the account.
        :param names: Stream only these events. Default: all.
        :param silence: Seconds without a byte after which the stream counts as broken. Default: 45, three
            keepalives.
        :raises PiktidConnectionError: The stream broke. Connect again.
        """
        return read_frames(self._http, build.stream_notifications(job_id, names), silence)

    async def list_notifications(
        self, names: Sequence[str], *, job_ids: Sequence[str] | None = None
    ) -> list[Notification]:
        """
        Request notifications once. Newer servers may no longer have this call.

        :param names: Requested events, at least one.
        :param job_ids: Only of these jobs. Default: all.
        """
        request = build.list_notifications(names, job_ids)
        return await self._http.call(
            request, lambda answer: as_models(answer, Notification, "notifications", "notifications_list")
        )

    async def delete_notification(self, notification_id: int) -> None:
        """Delete one notification, so that it is not replayed. It may be deleted already."""
        try:
            await self._http.call(build.delete_notification(notification_id), nothing)
        except PiktidNotFoundError:
            return

    async def create_download(self, job_id: str) -> DownloadLink:
        """Request a link to a ZIP of a job's results."""
        return await self._model(build.create_download(job_id), DownloadLink)

    async def create_bulk_download(self, job_ids: Sequence[str]) -> DownloadLink:
        """Request a link to a ZIP of the results of several jobs, at most 100 images in all."""
        return await self._model(build.create_bulk_download(job_ids), DownloadLink)

    async def fetch(self, url: str, consume: Callable[[ByteStream], Awaitable[T]]) -> T:
        """
        Download from a result or download link, without sending the token.

        :param consume: Reads the stream; called again, with a new stream, if the connection breaks.
        :return: What ``consume`` returned.
        :raises PiktidLinkError: The link was refused or has expired; request the results again.
        """
        return await fetch_link(self._http, url, consume)

    async def set_webhook(self, url: str) -> Webhook:
        """Set the account's only webhook. This replaces the previous one and changes the secret."""
        return await self._model(build.set_webhook(url), Webhook)

    async def test_webhook(self) -> None:
        """Request the delivery of a test event."""
        await self._http.call(build.test_webhook(), nothing)

    async def get_webhook(self) -> Webhook:
        """
        Get the account's webhook, without its secret. Undocumented.

        :raises PiktidNotFoundError: No webhook is set.
        """
        return await self._model(build.get_webhook(), Webhook)

    async def get_credits_used(
        self, start: str | None = None, end: str | None = None, resolution: str | None = None
    ) -> CreditsUsed:
        """
        Get the credits used; the API does not return the credits left.

        :param start: ISO 8601, UTC. Default: not sent. Likewise ``end``.
        :param resolution: ``day``, ``week`` or ``month``. Default: not sent.
        """
        return await self._model(build.get_credits_used(start, end, resolution), CreditsUsed)
