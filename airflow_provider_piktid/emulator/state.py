# SPDX-License-Identifier: Apache-2.0
"""The state of an emulator: what its APIs share, and the state of each API."""

from __future__ import annotations

from typing import Any

from .core import Core
from .settings import Settings
from .v1.account import V1
from .v2.account import V2


class State(Core):
    """
    The state of an emulator.

    :param settings: Settings of the emulator.
    """

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self.v2 = V2(self)
        self.v1 = V1(self)

    def clear(self) -> None:
        """Remove everything but the settings: jobs, pictures, generations, notifications, faults, counts."""
        with self.lock:
            super().clear()
            self.v2.clear()
            self.v1.clear()

    def close(self) -> None:
        """Close the streams, stop the threads and remove the temporary folder."""
        self.v2.close()
        super().close()

    def stats(self) -> dict[str, Any]:
        """Return counts of requests, jobs, refusals and bytes; those of v1 under ``v1``."""
        with self.lock:
            active = len(self.v2.jobs.active())
        more = {
            "active_jobs": active,
            "streams": self.v2.notifications.streams,
            "v1": self.v1.counters.as_dict(),
        }
        return {**self.counters.as_dict(), **more}

    def ledger(self) -> list[dict[str, Any]]:
        """Return every paid job with its images, identity and credits, oldest first."""
        return self.v2.jobs.ledger()

    def presets(self) -> list[dict[str, Any]]:
        """Return every extracted preset with its file, type and credits, oldest first."""
        with self.lock:
            return list(self.v2.presets)

    def generations(self) -> list[dict[str, Any]]:
        """Return every paid v1 generation with picture, person, keyword and credits, oldest first."""
        return self.v1.ledger()

    def abort_job(self, job_id: str) -> None:
        """
        End a job as aborted.

        :raises KeyError: Unknown job.
        """
        self.v2.runner.end(self.v2.jobs.get(job_id), "aborted", "Aborted by an administrator")

    def fail_job(self, job_id: str, message: str = "The job failed") -> None:
        """
        End a job as failed.

        :raises KeyError: Unknown job.
        """
        self.v2.runner.end(self.v2.jobs.get(job_id), "failed", message)

    def complete_job(self, job_id: str) -> None:
        """
        Finish a job immediately.

        :raises KeyError: Unknown job.
        """
        self.v2.runner.complete(self.v2.jobs.get(job_id))

    def publish(self, name: str, data: dict[str, Any]) -> int:
        """Publish any v2 notification and return its id."""
        return self.v2.notifications.publish(name, data).id
