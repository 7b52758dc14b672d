# SPDX-License-Identifier: Apache-2.0
"""Collect the outcomes of generations: download results, record failures, delete processed notifications."""

from __future__ import annotations

import contextlib
import itertools
import os
import posixpath
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from airflow_provider_piktid.common.concurrency import run_bounded
from airflow_provider_piktid.exceptions import (
    PiktidAPIError,
    PiktidConnectionError,
    PiktidDownloadError,
    PiktidError,
    PiktidLinkError,
    PiktidResponseError,
)
from airflow_provider_piktid.files import formats, receive
from airflow_provider_piktid.files.receive import FETCH_TRIES
from airflow_provider_piktid.person.matching import Findings
from airflow_provider_piktid.person.record import Generation, PersonRecord, output_stem

if TYPE_CHECKING:
    from airflow_provider_piktid.client import AsyncPiktidV1Client, PiktidV1Client
    from airflow_provider_piktid.files.receive import ReceivedFile
    from airflow_provider_piktid.files.storage import Location
    from airflow_provider_piktid.models.v1 import PersonNotification


class Collector:
    """
    Collects the outcomes of the generations of one record.

    :param folder: Folder of the results; None: do not download them.
    :param stem: Prefix of the file names.
    :param mark: Part of the file names that distinguishes purchases, made from options and such; may be empty.
    :param delete: Delete the processed notifications.
    :param limit: Concurrent downloads.
    :param save: Writes the record.
    """

    def __init__(
        self,
        record: PersonRecord,
        client: PiktidV1Client,
        *,
        folder: Location | None,
        stem: str,
        mark: str,
        delete: bool,
        limit: int,
        save: Callable[[], None],
        log: Any,
    ) -> None:
        self._record = record
        self._client = client
        self._folder = folder
        self._stem = stem
        self._mark = mark
        self._delete = delete
        self._limit = limit
        self._save = save
        self._log = log

    def collect(self, findings: Findings) -> None:
        """Download results and record failures. Notifications are deleted only afterwards."""
        self._record.note_unnamed(findings.unnamed)
        if not findings.settled and not findings.ids:
            return
        items = {item.label: item for item in self._record.generations}
        for name in findings.assumed:
            self._log.warning("A result has no keyword; assuming that it is %s.", name)
        for name, reason in findings.failed.items():
            items[name].state, items[name].error = "failed", reason
            self._log.warning("PiktID failed to generate %s: %s", name, reason)
        found = [(items[name], notification) for name, notification in findings.found.items()]
        if self._folder is not None:
            self._remove_partial_files(self._folder)
            self._name_files([item for item, _ in found], self._folder)
            self._client.run(self._fetch_all, found, self._folder)
        else:
            for item, _ in found:
                item.state, item.error = "done", None
        processed = [mark for mark in findings.ids if not _is_needed(mark, found)]
        self._record.used = list(dict.fromkeys([*self._record.used, *processed]))
        self._save()
        if self._delete:
            self._client.run(delete_ids, processed)

    @property
    def _partial(self) -> str:
        return f"person-{self._record.purchase}"

    def _remove_partial_files(self, folder: Location) -> None:
        """Remove what a try that was killed during a download left in a local folder."""
        if folder.is_local and os.path.isdir(folder.path):
            receive.remove_partial_files(folder, os.listdir(folder.path), self._partial)

    def _name_files(self, items: list[Generation], folder: Location) -> None:
        """
        Choose names that no file has, and save them: after a crash a file of that name is this task's own.

        Outputs of other tasks and runs, and files of other origin, keep their names and contents.
        """
        new = [item for item in items if item.file is None]
        folder.fs.invalidate_cache()

        def free(item: Generation) -> str:
            names = self._names(item)
            return next(folder.join(name).uri for name in names if not _is_taken(folder, name))

        with ThreadPoolExecutor(self._limit) as pool:
            for item, uri in zip(new, list(pool.map(free, new)), strict=True):
                item.file = uri
        if new:
            self._save()

    def _names(self, item: Generation) -> Iterator[str]:
        """Yield the names that the result may get, without extension; the same ones in every try."""
        name = output_stem(self._stem, item, self._mark)
        yield name
        yield f"{name}_{self._record.purchase}"
        yield from (f"{name}_{self._record.purchase}-{number}" for number in itertools.count(2))

    async def _fetch_all(
        self,
        client: AsyncPiktidV1Client,
        found: list[tuple[Generation, PersonNotification]],
        folder: Location,
    ) -> None:
        async def fetch(pair: tuple[Generation, PersonNotification]) -> None:
            item, notification = pair
            try:
                item.file = await self._fetch(client, notification.link or "", item, folder)
            except (PiktidError, OSError) as error:
                reason = str(error) if isinstance(error, PiktidError) else type(error).__name__
                item.state, item.error = "expired", f"generated, but not downloaded: {reason}"
                self._log.warning("%s: %s", item.label, item.error)
            else:
                item.state, item.error = "done", None
                self._log.info("Downloaded %s: %s", item.label, item.file)

        await run_bounded(fetch, found, self._limit)

    async def _fetch(self, client: AsyncPiktidV1Client, link: str, item: Generation, folder: Location) -> str:
        """Download one picture atomically and return its URI."""

        async def save(stream: Any) -> str:
            chunks = stream.chunks()
            async with receive.receive(folder, chunks, self._partial, stream.checksum) as received:
                if problem := await receive.picture_problem(received):
                    raise PiktidDownloadError(f"it {problem}")
                return await self._publish(received, item, folder)

        for attempt in range(1, FETCH_TRIES + 1):
            try:
                return await client.fetch(link, save)
            except (
                PiktidConnectionError,
                PiktidDownloadError,
                PiktidAPIError,
                PiktidResponseError,
            ) as error:
                if attempt == FETCH_TRIES or isinstance(error, PiktidLinkError):
                    raise
        raise AssertionError("unreachable")

    async def _publish(self, received: ReceivedFile, item: Generation, folder: Location) -> str:
        """Give a picture the name chosen for it, or the next one if another file got that name meanwhile."""
        image = formats.sniff(received.head)
        extension = formats.EXTENSIONS[image][0] if image else ".jpg"
        own = posixpath.basename(item.file or "")
        for name in itertools.chain([own] if own else [], self._names(item)):
            target = folder.join(name + extension)
            if await receive.publish_new(received, target):
                return target.uri
            # A try that was killed may have written it, on some stores in part.
            if name == own and await receive.is_part_of(target, received):
                await receive.publish(received, target)
                return target.uri
        raise AssertionError("unreachable")


def _is_taken(folder: Location, name: str) -> bool:
    """Return whether there is a picture of this name, whatever its format."""
    extensions = (extensions[0] for extensions in formats.EXTENSIONS.values())
    return any(folder.fs.exists(folder.join(name + extension).path) for extension in extensions)


def _is_needed(mark: int | str, found: list[tuple[Generation, PersonNotification]]) -> bool:
    """Return whether a notification is needed for a result that could not be downloaded."""
    return any(item.state != "done" and notification.identity == mark for item, notification in found)


async def delete_ids(client: AsyncPiktidV1Client, marks: list[int | str]) -> None:
    """
    Delete processed notifications; those without an id cannot be deleted.

    A failure does not fail a paid task, as they expire after ten minutes.
    """

    async def delete(mark: int | str) -> None:
        if isinstance(mark, int):
            with contextlib.suppress(PiktidError):
                await client.delete_notification(mark)

    await run_bounded(delete, marks, 8)
