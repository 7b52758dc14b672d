# SPDX-License-Identifier: Apache-2.0
"""The things an account of the v1 API holds. Times are epochs in seconds."""

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

    :param id: Number, from 0, left to right.
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
    :param digest: Digest of the bytes, by which the same picture uploaded twice is recognised.
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
        """Return the person of this number."""
        return next((person for person in self.persons if person.id == number), None)


@dataclass(frozen=True)
class Wish:
    """
    What a request asks for.

    :param sent: The keyword as it was sent, a JSON text; None if the request had a prompt instead.
    :param keyword: The same, decoded.
    """

    id_person: int
    sent: str | None
    keyword: dict[str, str] | None
    prompt: str | None
    options: dict[str, Any]

    @property
    def word(self) -> str:
        """The keyword's value, else the prompt: what is written on the picture."""
        return next(iter((self.keyword or {}).values()), self.prompt or "")

    @property
    def key(self) -> str:
        """What makes two wishes for one person the same."""
        return self.prompt or "" if self.keyword is None else json.dumps(self.keyword)


@dataclass
class Generation:
    """
    One paid request: ``pending``, then ``completed`` or ``failed``.

    :param base_url: Base of its links: the address the request came to.
    :param seconds: How long it takes, the wait for masks included.
    :param made_masks: Whether it had to make the masks itself.
    """

    id_task: str
    target: Target
    person: Person
    wish: Wish
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
            "keyword": self.wish.keyword,
            "prompt": self.wish.prompt,
            "options": self.wish.options,
            "status": self.status,
            "error_message": self.error_message,
            "credits": self.credits,
            "made_masks": self.made_masks,
            "seconds": self.seconds,
            "created_at": self.created_at,
        }


@dataclass(frozen=True)
class Notification:
    """``id_image`` and ``id_task`` are what filters look at; ``data`` need not tell them."""

    id: int
    name: str
    data: dict[str, Any]
    timestamp: float
    id_image: str | None = None
    id_task: str | None = None
