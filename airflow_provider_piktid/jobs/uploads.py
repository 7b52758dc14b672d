# SPDX-License-Identifier: Apache-2.0
"""The files that a batch file lists, and the record of uploaded ones: the same bytes get the same file ids again."""

from __future__ import annotations

import posixpath
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Self

from airflow_provider_piktid.common.records import VersionedRecord
from airflow_provider_piktid.files import storage
from airflow_provider_piktid.files.search import source_of
from airflow_provider_piktid.files.storage import SourceFile

RECORD_VERSION = 1
STATE_KEY = "piktid_uploads"

#: How long PiktID is assumed to keep an uploaded file. No source states it.
UPLOAD_KEPT_SECONDS = 24 * 3600.0


@dataclass
class ListedFiles:
    """
    The files of a ``.json`` list: an array of ``{"source", "relative"}``, or ``{"source", "relative", "files"}``.

    An entry with ``files`` is a group: its images go into one job of a type that combines them.

    :param group_of: URI of each file of a group to the ``source`` of its entry.
    :param gone: URIs of files that no longer exist.
    """

    files: list[SourceFile] = field(default_factory=list)
    group_of: dict[str, str] = field(default_factory=dict)
    gone: list[str] = field(default_factory=list)

    @classmethod
    def read(cls, uri: str) -> ListedFiles:
        """Look up the files of a list. A group of which one file no longer exists is left out as a whole."""
        listed = cls()
        for entry in storage.read_json(storage.locate(uri)) or []:
            listed._add(entry)
        listed.files = listed.without_groups_of(listed.gone, listed.files)
        return listed

    def _add(self, entry: Mapping[str, Any]) -> None:
        relative = str(entry["relative"])
        for uri in entry.get("files", [entry["source"]]):
            location = storage.locate(uri)
            if "files" in entry:
                self.group_of[location.uri] = str(entry["source"])
            location.fs.invalidate_cache()
            try:
                info = location.fs.info(location.path)
            except FileNotFoundError:
                self.gone.append(location.uri)
                continue
            is_folder = relative.endswith("/")
            name = relative + posixpath.basename(location.path) if is_folder else relative
            self.files.append(source_of(location, name, info))

    def without_groups_of(self, uris: Iterable[str], files: Iterable[SourceFile]) -> list[SourceFile]:
        """Return the files that belong to no group of these: a group is complete, or not bought."""
        broken = {self.group_of[uri] for uri in uris if uri in self.group_of}
        return [file for file in files if self.group_of.get(file.location.uri) not in broken]


@dataclass
class UploadRecord(VersionedRecord):
    """
    What a task instance has uploaded.

    :param uploaded_at: When the oldest of the files was uploaded, epoch seconds.
    :param images: ``images`` of the upload: each with ``source``, ``file_id`` and ``sha256``.
    """

    WHAT: ClassVar[str] = "uploaded files"
    NEWEST: ClassVar[int] = RECORD_VERSION

    project_id: str
    uploaded_at: float = field(default_factory=time.time)
    images: list[dict[str, Any]] = field(default_factory=list)
    version: int = RECORD_VERSION

    @property
    def job_ids(self) -> list[str]:
        """Nothing is paid for by an upload."""
        return []

    def usable(self, project_id: str) -> dict[str, dict[str, Any]]:
        """Return the files by source that PiktID is assumed to have in a project."""
        is_kept = self.uploaded_at > time.time() - UPLOAD_KEPT_SECONDS
        return (
            {row["source"]: row for row in self.images} if is_kept and self.project_id == project_id else {}
        )

    @classmethod
    def _build(cls, value: Mapping[str, Any]) -> Self:
        return cls(
            project_id=str(value["project_id"]),
            uploaded_at=float(value["uploaded_at"]),
            images=[dict(row) for row in value["images"]],
        )
