# SPDX-License-Identifier: Apache-2.0
"""The notifications of the last minutes, for those who begin to listen later."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Hashable, Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from airflow_provider_piktid.models.v2 import Notification

#: How long notifications are kept, in seconds: as long as PiktID keeps them. And how many, in characters of JSON.
RECENT_SECONDS = 600.0
RECENT_SIZE = 10_000_000


class RecentNotifications:
    """The notifications of the last ten minutes, oldest first; the newest 10 MB of them."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        #: Id to the time of arrival and the notification as JSON, which takes a third of the memory. One without an id
        #: has a key of its own.
        self._kept: dict[Hashable, tuple[float, str]] = {}
        self._size = 0

    def add(self, notification: Notification) -> bool:
        """Keep a notification; return whether it is a new one."""
        key = object() if notification.id is None else notification.id
        try:
            text = json.dumps(notification.model_dump())
        except (ValueError, RecursionError):
            # Nested too deeply: it is a hint all the same.
            return True
        if key in self._kept and self._kept[key][1] == text:
            return False
        self._drop(key)
        self._kept[key] = self._clock(), text
        self._size += len(text)
        self._forget()
        return True

    def __iter__(self) -> Iterator[Notification]:
        from airflow_provider_piktid.models.v2 import Notification

        self._forget()
        return iter([Notification.model_validate(json.loads(text)) for _, text in self._kept.values()])

    def _forget(self) -> None:
        oldest = self._clock() - RECENT_SECONDS
        while self._kept:
            key, (arrived, _) = next(iter(self._kept.items()))
            if arrived >= oldest and self._size <= RECENT_SIZE:
                return
            self._drop(key)

    def _drop(self, key: Hashable) -> None:
        self._size -= len(self._kept.pop(key, (0.0, ""))[1])
