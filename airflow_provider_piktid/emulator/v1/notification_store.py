# SPDX-License-Identifier: Apache-2.0
"""Notifications of v1: kept for a while, apart from those of v2."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

from ..core import Core
from .entities import Generation, Notification

GENERATED = "edit_generate"
FAILED = "error"


class NotificationStore:
    """The notifications of the account."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self.listeners: list[Callable[[Notification], None]] = []
        self.clear()

    def clear(self) -> None:
        """Forget all."""
        self._kept: dict[int, Notification] = {}
        self._numbers = itertools.count(9)

    def publish(
        self, name: str, data: dict[str, Any], *, id_image: str | None = None, id_task: str | None = None
    ) -> Notification:
        """
        Keep a notification, of this account's work or a foreign one.

        :param id_image: What a filter on the image finds; default ``data["address"]``.
        """
        with self._core.lock:
            number, now = next(self._numbers), self._core.clock.time()
            image = id_image or data.get("address")
            self._kept[number] = notification = Notification(number, name, data, now, image, id_task)
        for listener in self.listeners:
            listener(notification)
        return notification

    def current(self) -> list[Notification]:
        """Return those neither deleted nor too old, oldest first."""
        with self._core.lock:
            oldest = self._core.clock.time() - self._core.settings.notification_seconds
            self._kept = {number: item for number, item in self._kept.items() if item.timestamp > oldest}
            return list(self._kept.values())

    def delete(self, number: int) -> bool:
        """Forget one; False if there is none."""
        with self._core.lock:
            self.current()
            return self._kept.pop(number, None) is not None

    def shape(self, notification: Notification) -> dict[str, Any]:
        """Return a notification as the list carries it."""
        fields = self._core.variants["v1_notification_fields"]
        body: dict[str, Any] = {"name": notification.name, "data": notification.data}
        if fields in ("both", "id"):
            body["id"] = notification.id
        if fields in ("both", "timestamp"):
            body["timestamp"] = notification.timestamp
        return body

    # What generations say -----------------------------------------------------------------------------

    def completed(self, generation: Generation, links: list[dict[str, str]]) -> None:
        """Tell that a picture is finished."""
        self._of(generation, GENERATED, {**self._names(generation), "links": links})

    def failed(self, generation: Generation, message: str) -> None:
        """Tell that a generation failed; the documents name no ids in it."""
        data: dict[str, Any] = {"tasks": GENERATED, "msg": message}
        if self._core.variants["v1_error_ids"] == "present":
            data |= {"id_task": generation.id_task, **self._names(generation)}
        self._of(generation, FAILED, data)

    def _names(self, generation: Generation) -> dict[str, Any]:
        number = generation.person.id
        names: dict[str, Any] = {
            "id_person": str(number) if self._core.variants["v1_id_person"] == "text" else number,
            "address": generation.target.id_image,
        }
        shape = self._core.variants["v1_notification_keyword"]
        if shape == "string":
            names["keyword"] = generation.wish.sent
        elif shape == "object":
            names["keyword"] = generation.wish.keyword
        return names

    def _of(self, generation: Generation, name: str, data: dict[str, Any]) -> None:
        if "lose_notification" in generation.faults:
            return
        for _ in range(2 if "double_notification" in generation.faults else 1):
            self.publish(name, data, id_image=generation.target.id_image, id_task=generation.id_task)
