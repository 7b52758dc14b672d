# SPDX-License-Identifier: Apache-2.0
"""The minimum duration of a batch under the account limits, and its actual duration."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Account:
    """
    Account limits and the duration of each job, in seconds.

    :param jobs_per_minute: Submissions in each ``rate_window``.
    """

    jobs_per_minute: int = 5
    rate_window: float = 60.0
    active_jobs: int = 5
    job_seconds: float = 6.0

    def bound(self, jobs: int) -> float:
        """Seconds from the first submission to the last end, if every slot is used at once."""
        starts: list[float] = []
        for number in range(jobs):
            moment = starts[-1] if starts else 0.0
            if number >= self.jobs_per_minute:
                moment = max(moment, starts[number - self.jobs_per_minute] + self.rate_window)
            if number >= self.active_jobs:
                moment = max(moment, starts[number - self.active_jobs] + self.job_seconds)
            starts.append(moment)
        return starts[-1] + self.job_seconds

    @property
    def emulator_options(self) -> list[str]:
        """Command line options of an emulator with these limits."""
        return [
            "--fast-images",
            *("--jobs-per-minute", str(self.jobs_per_minute)),
            *("--rate-window", str(self.rate_window)),
            *("--active-jobs", str(self.active_jobs)),
            *("--job-seconds", str(self.job_seconds)),
        ]

    @property
    def extra(self) -> dict[str, Any]:
        """Extra fields of a connection with these limits."""
        return {
            "jobs_per_minute": self.jobs_per_minute,
            "rate_window": self.rate_window,
            "active_jobs": self.active_jobs,
        }


def makespan(ledger: Sequence[dict[str, Any]]) -> float:
    """Seconds from the start of the first job to the end of the last one, by the emulator's clock."""
    return float(max(job["updated_at"] for job in ledger) - min(job["created_at"] for job in ledger))
