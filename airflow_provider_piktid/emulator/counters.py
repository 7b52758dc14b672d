# SPDX-License-Identifier: Apache-2.0
"""Counters of requests, jobs and bytes."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections import Counter
from typing import Any


class LockedCounters(ABC):
    """Counts since startup or the last :meth:`clear`. Safe to use from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._reset()

    def clear(self) -> None:
        """Set all counts to zero."""
        with self._lock:
            self._reset()

    @abstractmethod
    def _reset(self) -> None: ...


class Counters(LockedCounters):
    """Counts of requests, submissions and bytes."""

    def _reset(self) -> None:
        self.requests: Counter[str] = Counter()
        self.statuses: Counter[tuple[str, int]] = Counter()
        self.jobs_by_images: Counter[tuple[str, ...]] = Counter()
        self.jobs_created = 0
        self.refused_submissions: Counter[str] = Counter()
        self.bytes_in = 0
        self.bytes_out = 0
        self.open_requests = 0
        self.most_open_requests = 0
        self.most_active_jobs = 0

    def begin(self, operation: str) -> None:
        """Count a request."""
        with self._lock:
            self.requests[operation] += 1
            self.open_requests += 1
            self.most_open_requests = max(self.most_open_requests, self.open_requests)

    def end(self) -> None:
        """Count the end of a request."""
        with self._lock:
            self.open_requests = max(0, self.open_requests - 1)

    def status(self, operation: str, status: int) -> None:
        """Count a response; status 0 means that the connection was cut."""
        with self._lock:
            self.statuses[operation, status] += 1

    def transferred(self, *, into: int = 0, out: int = 0) -> None:
        """Count bytes of request and response bodies."""
        with self._lock:
            self.bytes_in += into
            self.bytes_out += out

    def job(self, images: list[str], active: int) -> None:
        """Count a new paid job; ``active`` includes it."""
        with self._lock:
            self.jobs_created += 1
            if images:
                self.jobs_by_images[tuple(sorted(images))] += 1
            self.most_active_jobs = max(self.most_active_jobs, active)

    def refused(self, reason: str) -> None:
        """Count a refused submission: ``rate``, ``active`` or ``credits``."""
        with self._lock:
            self.refused_submissions[reason] += 1

    def as_dict(self) -> dict[str, Any]:
        """Return all counts as JSON values."""
        with self._lock:
            operations: dict[str, Any] = {}
            for name, count in self.requests.items():
                statuses = {str(s): n for (op, s), n in self.statuses.items() if op == name}
                operations[name] = {"requests": count, "statuses": statuses}
            return {
                "operations": operations,
                "jobs_created": self.jobs_created,
                "jobs_by_images": [
                    {"images": list(images), "jobs": count} for images, count in self.jobs_by_images.items()
                ],
                "duplicated_image_sets": sum(1 for count in self.jobs_by_images.values() if count > 1),
                "refused_429": sum(n for (_, s), n in self.statuses.items() if s == 429),
                "refused_submissions": dict(self.refused_submissions),
                "bytes_in": self.bytes_in,
                "bytes_out": self.bytes_out,
                "most_open_requests": self.most_open_requests,
                "most_active_jobs": self.most_active_jobs,
            }
