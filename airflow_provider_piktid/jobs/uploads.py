# SPDX-License-Identifier: Apache-2.0
"""The record of uploaded files: a task that runs again gets the same file ids for the same bytes."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Self

from airflow_provider_piktid.common.records import VersionedRecord

RECORD_VERSION = 1
STATE_KEY = "piktid_uploads"

#: How long PiktID is assumed to keep an uploaded file. No source states it.
UPLOAD_KEPT_SECONDS = 24 * 3600.0


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
