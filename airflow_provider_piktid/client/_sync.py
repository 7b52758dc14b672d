# SPDX-License-Identifier: Apache-2.0
"""The v2 client for synchronous code, and the base class of both facades."""

from __future__ import annotations

import contextlib
import threading
import weakref
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import ExitStack
from types import TracebackType
from typing import Any, Concatenate, Final, Generic, ParamSpec, Self, TypeVar, cast

import anyio
import anyio.from_thread
import httpx

from airflow_provider_piktid.client._async import AsyncPiktidClient
from airflow_provider_piktid.client._http import AsyncClient, Sleep
from airflow_provider_piktid.client._retry import RetrySettings
from airflow_provider_piktid.client._stream import SILENCE, StreamFrame
from airflow_provider_piktid.client._transfer import ByteSource, ByteStream
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

P = ParamSpec("P")
T = TypeVar("T")
C = TypeVar("C", bound=AsyncClient)

_END: Final = object()


class Facade(Generic[C]):
    """
    An async client on an event loop of its own, for synchronous code.

    The loop runs in a daemon thread from the first call on. A client that nobody has closed is closed when it is
    collected, or when the interpreter exits.
    """

    def __init__(self, client: C) -> None:
        self._client = client
        self._lock = threading.Lock()
        self._stack = ExitStack()
        self._portal: anyio.from_thread.BlockingPortal | None = None
        self._forgotten: weakref.finalize[..., Any] | None = None
        self._closed = False

    def __repr__(self) -> str:
        return f"{type(self).__name__}(label={self.label!r}, base_url={self.base_url!r})"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    @property
    def label(self) -> str:
        return self._client.label

    @property
    def base_url(self) -> str:
        return self._client.base_url

    def close(self) -> None:
        """Cancel running calls, close all connections and end the thread. May be called twice."""
        with self._lock:
            self._closed, portal, self._portal = True, self._portal, None
        if portal is not None and self._forgotten is not None:
            self._forgotten.detach()
            _end(self._stack, portal, self._client)

    def run(
        self,
        function: Callable[Concatenate[C, P], Awaitable[T]],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> T:
        """
        Run an async function on the client's event loop, for concurrent work.

        :param function: Called with the async client before ``args``.
        """

        async def call() -> T:
            return await function(self._client, *args, **kwargs)

        return self._call(call)

    def _call(self, function: Callable[[], Awaitable[T]]) -> T:
        """Run an async function on the client's event loop and wait for it."""
        with self._lock:
            if self._closed:
                raise RuntimeError(f"{self.label}: the client is closed")
            if self._portal is None:
                self._portal = self._stack.enter_context(anyio.from_thread.start_blocking_portal())
                # Otherwise anyio ends the thread when the stack is collected. At the exit of the interpreter that is
                # too late: daemon threads do not run any more, and the exit would wait for one for ever.
                self._forgotten = weakref.finalize(
                    self, _end_forgotten, self._stack, self._portal, self._client
                )
            portal = self._portal
        return portal.call(function)

    def _iterate(self, start: Callable[[], AsyncIterator[T]]) -> Iterator[T]:
        items = start()
        try:
            while (item := self._call(lambda: _next(items))) is not _END:
                yield cast(T, item)
        finally:
            if isinstance(items, AsyncGenerator) and not self._closed:
                self._call(items.aclose)


def _end(stack: ExitStack, portal: anyio.from_thread.BlockingPortal, client: AsyncClient) -> None:
    with stack:
        portal.call(client.aclose)
        portal.call(portal.stop, True)


def _end_forgotten(stack: ExitStack, portal: anyio.from_thread.BlockingPortal, client: AsyncClient) -> None:
    """Close what nobody can use any more, and report nothing: nobody could handle it."""
    with contextlib.suppress(Exception):
        _end(stack, portal, client)


async def _next(items: AsyncIterator[T]) -> T | object:
    return await anext(items, _END)


class PiktidClient(Facade[AsyncPiktidClient]):
    """
    A client of PiktID v2 for synchronous code.

    Methods and arguments are those of :class:`AsyncPiktidClient`, which documents them. Use it with ``with``, or
    call :meth:`close`. The event loop runs in a daemon thread from the first call on.
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
        super().__init__(
            AsyncPiktidClient(
                token,
                base_url=base_url,
                timeout=timeout,
                retry=retry,
                label=label,
                transport=transport,
                sleep=sleep,
            )
        )

    def ensure_project(self, name: str) -> Project:
        return self.run(AsyncPiktidClient.ensure_project, name)

    def iter_projects(self) -> Iterator[Project]:
        return self._iterate(self._client.iter_projects)

    def request_upload(self, filename: str, *, project_name: str | None = None) -> UploadTicket:
        return self.run(AsyncPiktidClient.request_upload, filename, project_name=project_name)

    def put_upload(self, ticket: UploadTicket, source: ByteSource | bytes) -> None:
        self.run(AsyncPiktidClient.put_upload, ticket, source)

    def upload_image(
        self, filename: str, source: ByteSource | bytes, *, project_name: str | None = None
    ) -> UploadTicket:
        return self.run(AsyncPiktidClient.upload_image, filename, source, project_name=project_name)

    def upload_identity(
        self, filename: str, image: bytes, *, name: str | None = None, tag: str | None = None
    ) -> Identity:
        return self.run(AsyncPiktidClient.upload_identity, filename, image, name=name, tag=tag)

    def get_identity(self, identity_code: str) -> Identity:
        return self.run(AsyncPiktidClient.get_identity, identity_code)

    def iter_identities(
        self,
        *,
        search: str | None = None,
        ownership: str | None = None,
        include_locked: bool | None = None,
    ) -> Iterator[Identity]:
        return self._iterate(
            lambda: self._client.iter_identities(
                search=search, ownership=ownership, include_locked=include_locked
            )
        )

    def get_identity_status(self, identity_code: str) -> IdentityStatus:
        return self.run(AsyncPiktidClient.get_identity_status, identity_code)

    def promote_identity(
        self, image_result_id: int, *, name: str | None = None, wait: bool = True
    ) -> PromotedIdentity:
        return self.run(AsyncPiktidClient.promote_identity, image_result_id, name=name, wait=wait)

    def extract_preset(
        self, file_id: str, preset_type: str = "flat_2_model", *, wait: bool = True
    ) -> ExtractedPreset:
        return self.run(AsyncPiktidClient.extract_preset, file_id, preset_type, wait=wait)

    def create_job(
        self,
        job: JobType,
        images: Sequence[str],
        *,
        images_per_job: int = DEFAULT_IMAGES_PER_JOB,
        wait: bool = True,
    ) -> JobCreated:
        return self.run(AsyncPiktidClient.create_job, job, images, images_per_job=images_per_job, wait=wait)

    def get_job(self, job_id: str) -> Job:
        return self.run(AsyncPiktidClient.get_job, job_id)

    def get_job_results(self, job_id: str) -> JobResults:
        return self.run(AsyncPiktidClient.get_job_results, job_id)

    def get_image_versions(self, job_id: str, image_index: int) -> list[ImageResult]:
        return self.run(AsyncPiktidClient.get_image_versions, job_id, image_index)

    def regenerate_image(
        self, job_id: str, image_index: int, *, group_index: int = 0, wait: bool = True
    ) -> None:
        self.run(AsyncPiktidClient.regenerate_image, job_id, image_index, group_index=group_index, wait=wait)

    def iter_gallery_jobs(
        self,
        *,
        project_id: str | int | None = None,
        job_id: str | None = None,
        status: str | None = None,
        job_type: str | None = None,
        order: str = "desc",
    ) -> Iterator[GalleryJob]:
        return self._iterate(
            lambda: self._client.iter_gallery_jobs(
                project_id=project_id, job_id=job_id, status=status, job_type=job_type, order=order
            )
        )

    def stream_notifications(
        self,
        *,
        job_id: str | None = None,
        names: Sequence[str] | None = None,
        silence: float = SILENCE,
    ) -> Iterator[StreamFrame]:
        return self._iterate(
            lambda: self._client.stream_notifications(job_id=job_id, names=names, silence=silence)
        )

    def list_notifications(
        self, names: Sequence[str], *, job_ids: Sequence[str] | None = None
    ) -> list[Notification]:
        return self.run(AsyncPiktidClient.list_notifications, names, job_ids=job_ids)

    def delete_notification(self, notification_id: int) -> None:
        self.run(AsyncPiktidClient.delete_notification, notification_id)

    def create_download(self, job_id: str) -> DownloadLink:
        return self.run(AsyncPiktidClient.create_download, job_id)

    def create_bulk_download(self, job_ids: Sequence[str]) -> DownloadLink:
        return self.run(AsyncPiktidClient.create_bulk_download, job_ids)

    def fetch(self, url: str, consume: Callable[[ByteStream], Awaitable[T]]) -> T:
        return self.run(AsyncPiktidClient.fetch, url, consume)

    def set_webhook(self, url: str) -> Webhook:
        return self.run(AsyncPiktidClient.set_webhook, url)

    def test_webhook(self) -> None:
        self.run(AsyncPiktidClient.test_webhook)

    def get_webhook(self) -> Webhook:
        return self.run(AsyncPiktidClient.get_webhook)

    def get_credits_used(
        self, start: str | None = None, end: str | None = None, resolution: str | None = None
    ) -> CreditsUsed:
        return self.run(AsyncPiktidClient.get_credits_used, start, end, resolution)
