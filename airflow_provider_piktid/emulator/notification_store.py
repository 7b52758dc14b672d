# SPDX-License-Identifier: Apache-2.0
"""Store notifications until they are deleted or expire."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Generic, Protocol, TypeVar

from .core import Core


class Numbered(Protocol):
    """A notification of either API; ``timestamp`` is an epoch in seconds."""

    @property
    def id(self) -> int: ...

    @property
    def timestamp(self) -> float: ...


N = TypeVar("N", bound=Numbered)


class NotificationStore(Generic[N]):
    """
    The account's notifications in one API. Safe to use from any thread.

    :param first: Number of the first notification.
    """

    def __init__(self, core: Core, first: int) -> None:
        self._core = core
        self._first = first
        self.listeners: list[Callable[[N], None]] = []
        self.clear()

    def clear(self) -> None:
        """Remove all notifications and restart numbering."""
        self._kept: dict[int, N] = {}
        self._numbers = itertools.count(self._first)

    def _add(self, make: Callable[[int, float], N]) -> N:
        """Store the notification that ``make`` returns for a new number and the current time."""
        with self._core.lock:
            notification = make(next(self._numbers), self._core.clock.time())
            self._kept[notification.id] = notification
        return notification

    def _notify(self, notification: N) -> None:
        for listener in self.listeners:
            listener(notification)

    def current(self) -> list[N]:
        """Return the notifications that are not deleted or expired, oldest first."""
        with self._core.lock:
            oldest = self._core.clock.time() - self._core.settings.notification_seconds
            self._kept = {number: item for number, item in self._kept.items() if item.timestamp > oldest}
            return list(self._kept.values())

    def delete(self, number: int) -> bool:
        """Delete one notification; return False if it does not exist."""
        with self._core.lock:
            self.current()
            return self._kept.pop(number, None) is not None
