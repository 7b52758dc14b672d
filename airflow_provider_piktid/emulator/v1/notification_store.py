# SPDX-License-Identifier: Apache-2.0
"""The notifications of v1, separate from those of v2."""

from __future__ import annotations

from typing import Any

from ..core import Core
from ..notification_store import NotificationStore
from .entities import Generation, Notification

GENERATED = "edit_generate"
FAILED = "error"


class V1Notifications(NotificationStore[Notification]):
    """The notifications of v1; those of v2 are kept separately."""

    def __init__(self, core: Core) -> None:
        super().__init__(core, first=9)

    def publish(
        self, name: str, data: dict[str, Any], *, id_image: str | None = None, id_task: str | None = None
    ) -> Notification:
        """
        Store a notification; tests publish foreign ones too.

        :param id_image: Image that filters compare; default ``data["address"]``.
        """
        image = id_image or data.get("address")
        notification = self._add(lambda number, now: Notification(number, name, data, now, image, id_task))
        self._notify(notification)
        return notification

    def shape(self, notification: Notification) -> dict[str, Any]:
        """Return a notification as it is listed."""
        fields = self._core.variants["v1_notification_fields"]
        body: dict[str, Any] = {"name": notification.name, "data": notification.data}
        if fields in ("both", "id"):
            body["id"] = notification.id
        if fields in ("both", "timestamp"):
            body["timestamp"] = notification.timestamp
        return body

    # Notifications of generations ----------------------------------------------------------------------

    def completed(self, generation: Generation, links: list[dict[str, str]]) -> None:
        """Publish that a picture is finished."""
        self._of(generation, GENERATED, {**self._names(generation), "links": links})

    def failed(self, generation: Generation, message: str) -> None:
        """Publish that a generation failed; as documented, without ids by default."""
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
            names["keyword"] = generation.request.sent
        elif shape == "object":
            names["keyword"] = generation.request.keyword
        return names

    def _of(self, generation: Generation, name: str, data: dict[str, Any]) -> None:
        if "lose_notification" in generation.faults:
            return
        for _ in range(2 if "double_notification" in generation.faults else 1):
            self.publish(name, data, id_image=generation.target.id_image, id_task=generation.id_task)
