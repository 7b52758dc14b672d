# SPDX-License-Identifier: Apache-2.0
"""
Run v1 generations over time.

The first request for a picture makes its masks, which takes ``mask_seconds``. A request sent before they are
ready makes its own masks and takes the same extra time; later requests only take ``generate_seconds``.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

from ..blobs import EXTENSIONS, Blob
from ..core import Core
from ..faces import encode, open_picture, thumbnail
from .entities import Generation
from .notification_store import V1Notifications
from .pictures import replace_person


class Runner:
    """Runs generations. Safe to use from any thread."""

    def __init__(self, core: Core, notices: V1Notifications) -> None:
        self._core = core
        self._notices = notices

    def start(self, generation: Generation) -> None:
        """Start a new generation."""
        settings, target = self._core.settings, generation.target
        with self._core.lock:
            now = self._core.clock.time()
            if target.masks_at is None:
                target.masks_at = now + settings.mask_seconds
            generation.made_masks = now < target.masks_at
        generation.seconds = settings.generate_seconds
        if generation.made_masks:
            generation.seconds += settings.mask_seconds
        if "never_end" not in generation.faults:
            self._core.scheduler.call_later(generation.seconds, partial(self._due, generation))

    def _due(self, generation: Generation) -> None:
        fault = generation.faults.get("fail")
        if fault is not None:
            self.fail(generation, str(fault.get("message", "generation failed")))
        elif not generation.person.approve:
            self.fail(generation, "The face is too blurry")
        else:
            self.complete(generation)

    def complete(self, generation: Generation) -> None:
        """Make the picture immediately."""
        if self._core.settings.transform:
            self._core.scheduler.submit(self._work, generation)
        else:
            self._work(generation)

    def fail(self, generation: Generation, message: str) -> None:
        """End a generation as failed, unless it has already ended."""
        with self._core.lock:
            if generation.ended:
                return
            generation.status, generation.error_message = "failed", message
            if self._core.variants["refund_failed"] == "yes":
                self._core.credits.refund(generation.credits)
                generation.credits = 0.0
        self._publish(generation, partial(self._notices.failed, generation, message))

    def _work(self, generation: Generation) -> None:
        if generation.ended:
            return
        try:
            blob, small = self._picture(generation)
        except Exception as error:
            self.fail(generation, f"Internal error: {type(error).__name__}")
            raise
        with self._core.lock:
            if generation.ended:
                return
            generation.status, generation.blob = "completed", blob
            self._core.keep(generation.id_task, blob)
            self._core.keep(f"{generation.id_task}-thumb", small)
            links = [self._links(generation, blob, small)]
        self._publish(generation, partial(self._notices.completed, generation, links))

    def _picture(self, generation: Generation) -> tuple[Blob, Blob]:
        source, folder = generation.target.blob, self._core.folder
        if "broken_picture" in generation.faults:
            blob = folder.save(b"<html>not a picture</html>", source.content_type)
            return blob, blob
        if not self._core.settings.transform:
            return source, source
        image, content_type = open_picture(source.path)
        blob = folder.save(encode(replace_person(image, generation), content_type), content_type)
        return blob, folder.save(thumbnail(blob.path), "image/jpeg")

    def _links(self, generation: Generation, blob: Blob, small: Blob) -> dict[str, str]:
        links = {
            "l": self._core.link(generation.id_task, blob, generation.base_url),
            "n": f"{Path(generation.target.filename).stem}_{generation.id_task[:8]}{EXTENSIONS[blob.content_type]}",
            "t": self._core.link(f"{generation.id_task}-thumb", small, generation.base_url),
        }
        fault = generation.faults.get("hostile_links")
        if fault is not None:
            links["n"] = fault.get("n", "../../../etc/passwd")
            links |= {key: fault.params[key] for key in ("l", "t") if key in fault.params}
        return links

    def _publish(self, generation: Generation, publish: partial[None]) -> None:
        fault = generation.faults.get("late_notification")
        if fault is None:
            publish()
        else:
            self._core.scheduler.call_later(float(fault.get("seconds", 1.0)), publish)
