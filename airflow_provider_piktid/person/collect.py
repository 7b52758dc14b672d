# SPDX-License-Identifier: Apache-2.0
"""Collect the outcomes of generations: download results, record failures, delete processed notifications."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
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
from airflow_provider_piktid.person.record import Generation, PersonRecord, output_name

if TYPE_CHECKING:
    from airflow_provider_piktid.client import AsyncPiktidV1Client, PiktidV1Client
    from airflow_provider_piktid.files.storage import Location
    from airflow_provider_piktid.models.v1 import PersonNotification


class Collector:
    """
    Collects the outcomes of the generations of one record.

    :param folder: Folder of the results; None: do not download them.
    :param stem: Prefix of the file names.
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
        delete: bool,
        limit: int,
        save: Callable[[], None],
        log: Any,
    ) -> None:
        self._record = record
        self._client = client
        self._folder = folder
        self._stem = stem
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
            self._client.run(self._fetch_all, found, self._folder)
        else:
            for item, _ in found:
                item.state, item.error = "done", None
        processed = [mark for mark in findings.ids if not _is_needed(mark, found)]
        self._record.used = list(dict.fromkeys([*self._record.used, *processed]))
        self._save()
        if self._delete:
            self._client.run(delete_ids, processed)

    async def _fetch_all(
        self,
        client: AsyncPiktidV1Client,
        found: list[tuple[Generation, PersonNotification]],
        folder: Location,
    ) -> None:
        async def fetch(pair: tuple[Generation, PersonNotification]) -> None:
            item, notification = pair
            try:
                item.file = await _fetch(client, notification.link or "", item, folder, self._stem)
            except (PiktidError, OSError) as error:
                reason = str(error) if isinstance(error, PiktidError) else type(error).__name__
                item.state, item.error = "expired", f"generated, but not downloaded: {reason}"
                self._log.warning("%s: %s", item.label, item.error)
            else:
                item.state, item.error = "done", None
                self._log.info("Downloaded %s: %s", item.label, item.file)

        await run_bounded(fetch, found, self._limit)


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


async def _fetch(
    client: AsyncPiktidV1Client, link: str, item: Generation, folder: Location, stem: str
) -> str:
    """Download one picture atomically and return its URI."""

    async def save(stream: Any) -> str:
        async with receive.receive(folder, stream.chunks(), "person") as received:
            if not await receive.is_whole_picture(received):
                raise PiktidDownloadError(f"it is truncated or not an image ({received.size} bytes)")
            found = formats.sniff(received.head)
            target = folder.join(output_name(stem, item, formats.EXTENSIONS[found][0] if found else ".jpg"))
            await receive.publish(received, target)
            return target.uri

    for attempt in range(1, FETCH_TRIES + 1):
        try:
            return await client.fetch(link, save)
        except (PiktidConnectionError, PiktidDownloadError, PiktidAPIError, PiktidResponseError) as error:
            if attempt == FETCH_TRIES or isinstance(error, PiktidLinkError):
                raise
    raise AssertionError("unreachable")
