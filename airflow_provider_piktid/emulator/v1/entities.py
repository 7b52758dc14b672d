# SPDX-License-Identifier: Apache-2.0
"""Data of the v1 API. Times are epoch seconds."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

from ..blobs import Blob
from ..faces import Face
from ..faults import Fault


@dataclass(frozen=True)
class Person:
    """
    A person in a picture.

    :param id: Number from 0, left to right.
    :param face: Where the face is, in pixels.
    :param approve: False if the face is too small or too blurry.
    """

    id: int
    face: Face
    approve: bool


@dataclass
class Target:
    """
    An uploaded picture.

    :param size: Width and height in pixels.
    :param digest: Digest of the content; equal for the same picture uploaded twice.
    :param masks_at: When the masks are ready; None before the first request.
    """

    id_image: str
    filename: str
    blob: Blob
    size: tuple[int, int]
    persons: list[Person]
    digest: str
    created_at: float
    masks_at: float | None = None

    def person(self, number: int) -> Person | None:
        """Return the person with this number."""
        return next((person for person in self.persons if person.id == number), None)


@dataclass(frozen=True)
class GenerationRequest:
    """
    What a request asks for.

    :param sent: The keyword as sent, a JSON text; None if the request has a prompt instead.
    :param keyword: The same, decoded.
    """

    id_person: int
    sent: str | None
    keyword: dict[str, str] | None
    prompt: str | None
    options: dict[str, Any]

    @property
    def word(self) -> str:
        """The value of the keyword, else the prompt; written on the picture."""
        return next(iter((self.keyword or {}).values()), self.prompt or "")

    @property
    def key(self) -> str:
        """Equal for two requests for the same keyword or prompt."""
        return self.prompt or "" if self.keyword is None else json.dumps(self.keyword)


@dataclass
class Generation:
    """
    A paid request: ``pending``, then ``completed`` or ``failed``.

    :param base_url: Base URL of its links.
    :param seconds: How long it takes, including masks.
    :param made_masks: Whether it made the masks itself.
    """

    id_task: str
    target: Target
    person: Person
    request: GenerationRequest
    credits: float
    created_at: float
    base_url: str
    seconds: float = 0.0
    made_masks: bool = False
    status: str = "pending"
    error_message: str | None = None
    blob: Blob | None = None
    faults: dict[str, Fault] = field(default_factory=dict)

    @property
    def ended(self) -> bool:
        return self.status != "pending"

    def as_dict(self) -> dict[str, Any]:
        """Return a row of the ledger."""
        return {
            "id_task": self.id_task,
            "id_image": self.target.id_image,
            "picture": self.target.digest,
            "id_person": self.person.id,
            "keyword": self.request.keyword,
            "prompt": self.request.prompt,
            "options": self.request.options,
            "status": self.status,
            "error_message": self.error_message,
            "credits": self.credits,
            "made_masks": self.made_masks,
            "seconds": self.seconds,
            "created_at": self.created_at,
        }


@dataclass(frozen=True)
class Notification:
    """A notification; filters use ``id_image`` and ``id_task``, which ``data`` may lack."""

    id: int
    name: str
    data: dict[str, Any]
    timestamp: float
    id_image: str | None = None
    id_task: str | None = None
