# SPDX-License-Identifier: Apache-2.0
"""What both APIs of one emulator share."""

from __future__ import annotations

import threading
from datetime import UTC, datetime
from email.utils import format_datetime

from starlette.requests import Request

from .blobs import EXTENSIONS, Blob, BlobFolder
from .clock import Clock
from .counters import Counters
from .credits import Credits
from .faults import Faults
from .scheduler import Scheduler
from .settings import Settings
from .signing import Signer
from .variants import Variants


class Core:
    """
    Settings, clock, credits, files, faults and counters. Hold ``lock`` to change state.

    :param settings: Settings of the emulator.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.variants = Variants(settings.variants)
        self.lock = threading.RLock()
        self.clock = Clock()
        self.counters = Counters()
        self.credits = Credits(settings.credits, self.counters)
        self.faults = Faults()
        self.signer = Signer()
        self.folder = BlobFolder(settings.data_dir)
        self.scheduler = Scheduler(settings.picture_workers)
        self.deliveries = Scheduler(2)
        self.blobs: dict[str, Blob] = {}

    def clear(self) -> None:
        """Remove everything but the settings."""
        self.scheduler.clear()
        self.deliveries.clear()
        self.blobs.clear()
        self.faults.clear()
        self.counters.clear()
        self.credits.clear()

    def close(self) -> None:
        """Stop the threads and remove the temporary folder."""
        self.scheduler.close()
        self.deliveries.close()
        self.folder.close()

    def base_url(self, request: Request) -> str:
        """Return the base URL of links for this request, without a trailing slash."""
        return self.settings.public_url or str(request.base_url).rstrip("/")

    def keep(self, name: str, blob: Blob) -> None:
        """Make a file available under ``/f/<name><extension>``."""
        self.blobs[self.blob_name(name, blob)] = blob

    @staticmethod
    def blob_name(name: str, blob: Blob) -> str:
        """Return the name of a file in its URL."""
        return name + EXTENSIONS.get(blob.content_type, "")

    def link(self, name: str, blob: Blob, base_url: str) -> str:
        """Return a signed link to a file."""
        expires = self.clock.time() + self.settings.result_link_seconds
        return base_url + self.signer.file_target(self.blob_name(name, blob), expires)

    def retry_after(self, wait: float) -> dict[str, str]:
        """Return the ``Retry-After`` header of a 429, in the form that the variant sets."""
        kind = self.variants["retry_after"]
        seconds = max(1, int(wait + 0.999))
        if kind == "seconds":
            return {"Retry-After": str(seconds)}
        if kind == "date":
            moment = datetime.fromtimestamp(self.clock.time() + seconds, UTC)
            return {"Retry-After": format_datetime(moment, usegmt=True)}
        return {}
