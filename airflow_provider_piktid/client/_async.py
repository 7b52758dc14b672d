# SPDX-License-Identifier: Apache-2.0
"""The client of the v2 API."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Final, TypeVar

import anyio
import httpx
from pydantic import BaseModel

from airflow_provider_piktid.client import _build as build
from airflow_provider_piktid.client._http import AsyncClient, HttpSession, Sleep, bearer
from airflow_provider_piktid.client._parse import Answer, as_model, as_models, has_next_page
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
    UploadTicket,
    Webhook,
)

T = TypeVar("T")
M = TypeVar("M", bound=BaseModel)

#: Links that one upload may use up.
UPLOAD_LINKS: Final = 3
MAX_PAGES: Final = 10_000


class AsyncPiktidClient(AsyncClient):
    """
    Talk to PiktID v2. Use it with ``async with``, or call :meth:`aclose`.

    Every call raises errors of :mod:`airflow_provider_piktid.exceptions`, and ``ValueError`` for
    arguments that cannot be right. 429 is waited out; broken connections and 5xx are repeated where that
    cannot pay twice.

    :param token: API token, sent to ``base_url`` only.
    :param base_url: Default: the public service.
    :param timeout: Seconds that the server may take for one piece of an answer. Default 60.
    :param retry: How patient the client is.
    :param label: Names the connection in every message.
    :param transport: Replaces the network, for tests.
    :param sleep: Replaces waiting, for tests.
    :raises PiktidConfigError: Token or base URL cannot be used.
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
        Create a project, or take the one that has the name.

        :param name: 1 to 128 characters.
        """
        try:
            project = await self._model(build.create_project(name), Project, project_name=name)
            return project if project.has_key else await self._find_project(name) or project
        except PiktidConflictError as exc:
            existing = _existing_project(exc, name) or await self._find_project(name)
            if existing is None:
                raise
            return existing

    def iter_projects(self) -> AsyncIterator[Project]:
        """List all projects."""
        return self._pages(build.list_projects, Project, "projects")

    async def request_upload(self, filename: str, *, project_name: str | None = None) -> UploadTicket:
        """
        Ask where to put one image. The link is short-lived.

        :param project_name: Sent only if given: newer servers do not want it, the oldest do.
        """
        return await self._model(
            build.request_upload(filename, project_name), UploadTicket, filename=filename
        )

    async def put_upload(self, ticket: UploadTicket, source: ByteSource | bytes) -> None:
        """
        Put the image behind its link, with exactly the ticket's content type and without the token.

        :raises PiktidLinkError: The link has expired; request another.
        """
        await put_link(self._http, ticket, source)

    async def upload_image(
        self, filename: str, source: ByteSource | bytes, *, project_name: str | None = None
    ) -> UploadTicket:
        """Request an upload and put the image there; an expired link is requested anew, up to 3 in all."""
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
        Upload a picture of one person, or take the identity that has the name.

        :param image: Encoded picture with exactly one visible face.
        :param name: Unique per account. Without it a lost answer is not repeated.
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

        :param ownership: ``mine``, ``shared`` or ``default``.
        """

        def page(number: int) -> build.Request:
            return build.list_identities(number, search, ownership, include_locked)

        return self._pages(page, Identity, "identities")

    async def get_identity_status(self, identity_code: str) -> IdentityStatus:
        """Get how far the preprocessing of an identity is."""
        return await self._model(build.get_identity_status(identity_code), IdentityStatus)

    async def create_job(
        self,
        job: JobType,
        images: Sequence[str],
        *,
        images_per_job: int = DEFAULT_IMAGES_PER_JOB,
        wait: bool = True,
    ) -> JobCreated:
        """
        Start a job. This costs credits, and is never repeated after a failure that leaves its fate unknown.

        :param job: Its kind and options, such as :class:`airflow_provider_piktid.models.model_swap.ModelSwap`.
        :param images: ``file_id`` values, each once.
        :param images_per_job: The account's limit. Default: 10, from PiktID's reference.
        :param wait: False raises a 429 at once instead of waiting it out. Default: True.
        :raises ValueError: The images cannot be right. Nothing was sent.
        :raises PiktidSubmissionError: The request may have arrived; look for the job before paying again.
        :raises PiktidActiveJobsError: The account's limit of active jobs is reached.
        :raises PiktidCreditsError: Not enough credits.
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

        :raises PiktidNotFoundError: No such job, or a fresh one that is not visible yet.
        """
        return await self._model(build.get_job(job_id), Job, job_id=job_id)

    async def get_job_results(self, job_id: str) -> JobResults:
        """Get the newest version of each output; partial while the job runs."""
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
        await self._http.call(request, _nothing, wait=wait)

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

        :param project_id: Sent as it is. Whether the server wants the number or the key is undocumented.
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

        Notifications are hints and may be lost, doubled or late: ask for the job's status after
        ``backfill_complete`` and after each event of the job. Close the iterator to leave it early.

        :param job_id: Only this job's; without it every job of the account is in the stream.
        :param silence: Seconds without a byte after which it counts as broken. Default 45: three keepalives.
        :raises PiktidConnectionError: It broke. Connect again.
        """
        return read_frames(self._http, build.stream_notifications(job_id, names), silence)

    async def list_notifications(
        self, names: Sequence[str], *, job_ids: Sequence[str] | None = None
    ) -> list[Notification]:
        """
        Ask once for notifications. Not every server has this any more.

        :param names: Events asked for, at least one.
        """
        request = build.list_notifications(names, job_ids)
        return await self._http.call(
            request, lambda answer: as_models(answer, Notification, "notifications", "notifications_list")
        )

    async def delete_notification(self, notification_id: int) -> None:
        """Delete one notification, so that it is not replayed. One that is gone already is fine."""
        try:
            await self._http.call(build.delete_notification(notification_id), _nothing)
        except PiktidNotFoundError:
            return

    async def create_download(self, job_id: str) -> DownloadLink:
        """Ask for a link to a ZIP of a job's results."""
        return await self._model(build.create_download(job_id), DownloadLink)

    async def create_bulk_download(self, job_ids: Sequence[str]) -> DownloadLink:
        """Ask for a link to a ZIP of several jobs' results, at most 100 images together."""
        return await self._model(build.create_bulk_download(job_ids), DownloadLink)

    async def fetch(self, url: str, consume: Callable[[ByteStream], Awaitable[T]]) -> T:
        """
        Get what is behind a result or download link, without the token.

        :param consume: Takes the stream; is called anew, with a new stream, when the connection breaks.
        :raises PiktidLinkError: The link was refused or has expired; ask for the results again.
        """
        return await fetch_link(self._http, url, consume)

    async def set_webhook(self, url: str) -> Webhook:
        """Set the account's only webhook. This takes it from whoever had it, and changes the secret."""
        return await self._model(build.set_webhook(url), Webhook)

    async def test_webhook(self) -> None:
        """Have a test event delivered."""
        await self._http.call(build.test_webhook(), _nothing)

    async def get_webhook(self) -> Webhook:
        """
        Get the account's webhook, without its secret. Undocumented.

        :raises PiktidNotFoundError: There is none.
        """
        return await self._model(build.get_webhook(), Webhook)

    async def get_credits_used(
        self, start: str | None = None, end: str | None = None, resolution: str | None = None
    ) -> CreditsUsed:
        """
        Get the credits used, not those left.

        :param start: ISO 8601, UTC. Likewise ``end``.
        :param resolution: ``day``, ``week`` or ``month``.
        """
        return await self._model(build.get_credits_used(start, end, resolution), CreditsUsed)

    async def _find_project(self, name: str) -> Project | None:
        async for project in self.iter_projects():
            if project.project_name == name:
                return project
        return None

    async def _model(self, request: build.Request, model: type[M], **defaults: object) -> M:
        return await self._http.call(request, lambda answer: as_model(answer, model, **defaults))

    async def _pages(
        self, request: Callable[[int], build.Request], model: type[M], key: str
    ) -> AsyncIterator[M]:
        """List page by page; a server that gives the same page for ever is left."""
        last = b""
        for page in range(1, MAX_PAGES + 1):

            def parse(answer: Answer, page: int = page) -> tuple[list[M], bool, bytes]:
                items = as_models(answer, model, key)
                more = has_next_page(answer, page, len(items), build.PAGE_SIZE)
                return items, more, answer.content

            items, more, content = await self._http.call(request(page), parse)
            if content == last:
                return
            for item in items:
                yield item
            if not more:
                return
            last = content


def _existing_project(conflict: PiktidConflictError, name: str) -> Project | None:
    """Give the project that a 409 names by its text id; its number would be the wrong one."""
    body = conflict.body or {}
    for key in (body.get("project_key"), body.get("project_id")):
        if isinstance(key, str) and key:
            return Project(project_id=key, project_name=name)
    return None


def _nothing(answer: Answer) -> None:
    """Take any success, whatever its body."""
