# SPDX-License-Identifier: Apache-2.0
"""Counters of v1."""

from __future__ import annotations

import time
from collections import Counter
from itertools import pairwise
from typing import Any

from ..counters import LockedCounters
from .entities import Generation


class GenerationCounters(LockedCounters):
    """Counts of logins, polls and generations."""

    def _reset(self) -> None:
        self.events: Counter[str] = Counter()
        self.bought: Counter[tuple[str, int, str]] = Counter()
        self.most_active = 0
        self.polls: list[float] = []

    def count(self, event: str) -> None:
        """Count ``logins``, ``refused_logins``, ``refreshes`` or ``revocations``."""
        with self._lock:
            self.events[event] += 1

    def poll(self) -> None:
        """Count a poll of the notifications, including refused ones."""
        with self._lock:
            self.polls.append(time.monotonic())

    def generation(self, generation: Generation, active: int) -> None:
        """Count a paid request; ``active`` includes it."""
        with self._lock:
            self.bought[generation.target.id_image, generation.person.id, generation.request.key] += 1
            self.most_active = max(self.most_active, active)

    def as_dict(self) -> dict[str, Any]:
        """Return all counts as JSON values; the shortest poll interval is in seconds, None before the second poll."""
        with self._lock:
            gaps = [later - earlier for earlier, later in pairwise(self.polls)]
            return {
                **{name: self.events[name] for name in _EVENTS},
                "generations": self.bought.total(),
                "generations_by_request": [
                    {"id_image": image, "id_person": person, "keyword": keyword, "generations": count}
                    for (image, person, keyword), count in self.bought.items()
                ],
                "duplicated_generations": sum(count - 1 for count in self.bought.values()),
                "most_active_generations": self.most_active,
                "polls": len(self.polls),
                "shortest_poll_interval": min(gaps, default=None),
            }


_EVENTS = ("logins", "refused_logins", "refreshes", "revocations")
