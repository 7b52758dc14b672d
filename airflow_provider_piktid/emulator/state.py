# SPDX-License-Identifier: Apache-2.0
"""Everything one emulator knows: what its APIs share, and the state of each API."""

from __future__ import annotations

import threading
from typing import Any

from starlette.requests import Request

from .blobs import EXTENSIONS, Blob, BlobFolder
from .clock import Clock
from .counters import Counters
from .faults import Faults
from .scheduler import Scheduler
from .settings import Settings
from .signing import Signer
from .v1.account import V1
from .v2.account import V2
from .variants import Variants


class State:
    """
    The state of one emulator; ``lock`` guards everything that is changed from several threads.

    :param settings: How it behaves.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.variants = Variants(settings.variants)
        self.lock = threading.RLock()
        self.clock = Clock()
        self.counters = Counters()
        self.faults = Faults()
        self.signer = Signer()
        self.folder = BlobFolder(settings.data_dir)
        self.scheduler = Scheduler(settings.picture_workers)
        self.deliveries = Scheduler(2)
        self.blobs: dict[str, Blob] = {}
        self.v2 = V2(self)
        self.v1 = V1(self)

    def clear(self) -> None:
        """Forget everything but the settings: jobs, pictures, generations, notifications, faults, counts."""
        with self.lock:
            self.scheduler.clear()
            self.deliveries.clear()
            self.blobs.clear()
            self.v2.clear()
            self.v1.clear()
            self.faults.clear()
            self.counters.clear()

    def close(self) -> None:
        """End threads and streams, remove the temporary folder."""
        self.v2.close()
        self.scheduler.close()
        self.deliveries.close()
        self.folder.close()

    def base_url(self, request: Request) -> str:
        """Return the address under which the caller reaches this emulator, without a slash at the end."""
        return self.settings.public_url or str(request.base_url).rstrip("/")

    def keep(self, name: str, blob: Blob) -> None:
        """Make bytes fetchable under ``/f/<name><extension>``."""
        self.blobs[self.blob_name(name, blob)] = blob

    @staticmethod
    def blob_name(name: str, blob: Blob) -> str:
        """Return the name under which bytes are kept."""
        return name + EXTENSIONS.get(blob.content_type, "")

    def link(self, name: str, blob: Blob, base_url: str) -> str:
        """Return a signed link to kept bytes."""
        expires = self.clock.time() + self.settings.result_link_seconds
        return base_url + self.signer.file_target(self.blob_name(name, blob), expires)

    def stats(self) -> dict[str, Any]:
        """Return counts of requests, jobs, refusals and bytes, and those of v1 under ``v1``."""
        with self.lock:
            active = len(self.v2.jobs.active())
        more = {"active_jobs": active, "streams": self.v2.notices.streams, "v1": self.v1.counts.as_dict()}
        return {**self.counters.as_dict(), **more}

    def ledger(self) -> list[dict[str, Any]]:
        """Return every paid job with its images, identity and credits, oldest first."""
        return self.v2.jobs.ledger()

    def generations(self) -> list[dict[str, Any]]:
        """Return every paid generation of v1 with picture, person, keyword and credits, oldest first."""
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
        Finish what a job has still to do at once, and end it.

        :raises KeyError: Unknown job.
        """
        self.v2.runner.complete(self.v2.jobs.get(job_id))

    def publish(self, name: str, data: dict[str, Any]) -> int:
        """Send a notification of v2 of any kind and return its id."""
        return self.v2.notices.publish(name, data).id
