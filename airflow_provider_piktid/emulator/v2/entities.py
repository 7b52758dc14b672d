# SPDX-License-Identifier: Apache-2.0
"""The things an account of the v2 API holds. Times are epochs in seconds."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from ..blobs import Blob
from ..faults import Fault

TERMINAL = frozenset({"completed", "failed", "aborted"})


@dataclass
class Project:
    """``key`` is the string of creation, ``number`` the integer of listings."""

    key: str
    number: int
    name: str
    created_at: float


@dataclass
class StoredFile:
    """An upload: first a ticket, then, when ``blob`` is set, an asset."""

    file_id: str
    filename: str
    content_type: str
    created_at: float
    link_expires: float
    project: Project | None = None
    blob: Blob | None = None


@dataclass
class Identity:
    """A person; ``visibility`` is ``default`` for those that PiktID offers."""

    code: str
    name: str
    created_at: float
    updated_at: float
    visibility: str = "private"
    created_by: str = ""
    original_filename: str | None = None
    blob: Blob | None = None
    tag: str | None = None
    gender: str | None = None
    age: int | None = None
    faces: int = 1
    preprocessing_status: str = "completed"
    error_message: str | None = None
    picture: Any = None


@dataclass
class Output:
    """One version of one output of a job: a row of its results."""

    id: int
    uuid: str
    image_index: int
    group_index: int
    file_id: str
    filename: str
    created_at: float
    version: int = 0
    download_filename: str | None = None
    status: str = "pending"
    blob: Blob | None = None
    error_message: str | None = None
    description: dict[str, Any] = field(default_factory=dict)
    started_at: float | None = None
    updated_at: float = 0.0
    processing_time: float | None = None

    @property
    def finished(self) -> bool:
        return self.status in ("completed", "failed")

    @property
    def key(self) -> tuple[int, int]:
        return self.image_index, self.group_index


@dataclass
class Job:
    """A job of any type; ``options`` are what the request chose for it."""

    job_id: str
    job_type: str
    created_at: float
    updated_at: float
    identity: Identity | None = None
    project: Project | None = None
    images: list[str] = field(default_factory=list)
    options: dict[str, Any] = field(default_factory=dict)
    outputs: list[Output] = field(default_factory=list)
    post_process: bool = False
    post_processing_status: str | None = None
    post_processing_error: str | None = None
    status: str = "pending"
    error_message: str | None = None
    credits: float = 0.0
    hidden: int = 0
    faults: dict[str, Fault] = field(default_factory=dict)

    @property
    def ended(self) -> bool:
        return self.status in TERMINAL

    def newest(self) -> list[Output]:
        """Return the newest version of each output, in order."""
        rows: dict[tuple[int, int], Output] = {}
        for output in self.outputs:
            if output.key not in rows or output.version > rows[output.key].version:
                rows[output.key] = output
        return [rows[key] for key in sorted(rows)]


@dataclass
class Notification:
    """As on the wire."""

    id: int
    name: str
    data: dict[str, Any]
    timestamp: float

    def as_dict(self) -> dict[str, Any]:
        return {"id": self.id, "name": self.name, "data": self.data, "timestamp": self.timestamp}


@dataclass
class Webhook:
    """The account's only webhook."""

    id: int
    url: str
    secret: str
    created_at: float
    updated_at: float
    is_active: bool = True
    last_response_status: int | None = None
    last_response_at: float | None = None


@dataclass
class ZipLink:
    """A token that opens an archive of jobs."""

    token: str
    job_ids: list[str]
    expires: float
    blob: Blob | None = None
    uses: int = 0
