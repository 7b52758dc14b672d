# SPDX-License-Identifier: Apache-2.0
"""Data of the v2 API. Times are epoch seconds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ..blobs import Blob
from ..faces import Face


@dataclass
class Project:
    """A project; ``key`` is the string id from its creation, ``number`` the integer id in listings."""

    key: str
    number: int
    name: str
    created_at: float


@dataclass
class StoredFile:
    """An upload; an asset once ``blob`` is set. ``faces`` is set once they were detected."""

    file_id: str
    filename: str
    content_type: str
    created_at: float
    link_expires: float
    project: Project | None = None
    blob: Blob | None = None
    faces: list[Face] | None = None


@dataclass
class Identity:
    """A person; ``visibility`` is ``default`` for the identities that PiktID provides."""

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
class Notification:
    """A notification, as in the API."""

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
    """A link to an archive of jobs."""

    token: str
    job_ids: list[str]
    expires: float
    blob: Blob | None = None
    uses: int = 0
