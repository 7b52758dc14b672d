# SPDX-License-Identifier: Apache-2.0
"""Give downloaded outputs their names, without replacing files that are not theirs."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import posixpath
from typing import TYPE_CHECKING

from airflow_provider_piktid.exceptions import PiktidDownloadError
from airflow_provider_piktid.files import formats, receive, storage
from airflow_provider_piktid.files.names import folded
from airflow_provider_piktid.jobs import manifest

if TYPE_CHECKING:
    from airflow_provider_piktid.files.receive import ReceivedFile
    from airflow_provider_piktid.files.storage import Location
    from airflow_provider_piktid.jobs.manifest import Row, RowKey

log = logging.getLogger(__name__)


class Publisher:
    """
    Gives the outputs of one download their names.

    A file is an output's own if no manifest in the folder says that it is another output, and if it has the content of
    the output or, after a kill, the beginning of it.
    """

    def __init__(self, folder: Location) -> None:
        self._folder = folder
        self._owners: dict[str, RowKey] | None = None
        self._reading = asyncio.Lock()

    async def publish(self, received: ReceivedFile, row: Row, *, replace: bool) -> str:
        """
        Publish a file and return its name, which is another one if a file that is not this output has its own.

        :param replace: Replace any file of that name.
        """
        own = with_true_extension(row.file or "", received.head)
        if replace:
            await receive.publish(received, self._folder.join(own))
            return own
        for name in itertools.chain([own], manifest.further_names(row, own)):
            target = self._folder.join(name)
            if await receive.publish_new(received, target):
                break
            if await self._is_own(row, name) and await receive.is_part_of(target, received):
                await receive.publish(received, target)
                break
        if name != own:
            row.instead_of = own
            log.warning("%s is not this output and is kept; writing %s.", own, name)
        return name

    async def _is_own(self, row: Row, name: str) -> bool:
        async with self._reading:
            if self._owners is None:
                self._owners = await asyncio.to_thread(_read_owners, self._folder)
        return self._owners.get(folded(name), row.key) == row.key


def _read_owners(folder: Location) -> dict[str, RowKey]:
    """Return which output each file is, by all manifests of a folder. Keys are folded names."""
    owners: dict[str, RowKey] = {}
    private = folder.join(storage.PRIVATE_FOLDER)
    for path in sorted(private.fs.ls(private.path, detail=False)):
        name = posixpath.basename(path)
        if name.startswith("manifest-") and name.endswith(".json"):
            # One that cannot be read names no files.
            with contextlib.suppress(PiktidDownloadError, ValueError):
                rows = manifest.load(storage.read_json(private.join(name)), name)
                owners |= {folded(row.file): row.key for row in rows if row.file and row.status == "done"}
    return owners


def with_true_extension(name: str, head: bytes) -> str:
    """Return the name with the extension of the actual format: the server copies that of the input."""
    found = formats.sniff(head)
    stem, extension = posixpath.splitext(name)
    if found is None or extension.lower() in formats.EXTENSIONS[found]:
        return name
    return stem + formats.EXTENSIONS[found][0]
