# SPDX-License-Identifier: Apache-2.0
"""The account's data in the v1 API."""

from __future__ import annotations

import uuid
from typing import Any

from ..blobs import Blob
from ..core import Core
from ..faults import GENERATION, GENERATION_KINDS, Fault
from .counters import GenerationCounters
from .entities import Generation, GenerationRequest, Person, Target
from .notification_store import V1Notifications
from .runner import Runner
from .tokens import Tokens


class V1:
    """
    Pictures, generations, notifications and tokens of the account.

    :param core: Shared with v2.
    """

    def __init__(self, core: Core) -> None:
        self._core = core
        self.counters = GenerationCounters()
        self.tokens = Tokens(core, self.counters)
        self.notifications = V1Notifications(core)
        self.runner = Runner(core, self.notifications)
        self.clear()

    def clear(self) -> None:
        """Remove everything."""
        self._targets: dict[str, Target] = {}
        self._generations: dict[str, Generation] = {}
        self.polled_at = float("-inf")
        self.tokens.clear()
        self.notifications.clear()
        self.counters.clear()

    def targets(self) -> list[Target]:
        """Return the pictures that have not expired, oldest first."""
        with self._core.lock:
            oldest = self._core.clock.time() - self._core.settings.target_seconds
            for target in [t for t in self._targets.values() if t.created_at <= oldest]:
                del self._targets[target.id_image]
                self._core.blobs.pop(self._core.blob_name(f"target-{target.id_image}", target.blob), None)
            return list(self._targets.values())

    def target(self, id_image: str) -> Target | None:
        """Return a picture that has not expired."""
        return next((target for target in self.targets() if target.id_image == id_image), None)

    def add_target(
        self, filename: str, blob: Blob, size: tuple[int, int], persons: list[Person], digest: str
    ) -> Target:
        """Store an uploaded picture."""
        now = self._core.clock.time()
        target = Target(uuid.uuid4().hex, filename, blob, size, persons, digest, now)
        with self._core.lock:
            self._targets[target.id_image] = target
            self._core.keep(f"target-{target.id_image}", blob)
        return target

    def generations(self) -> list[Generation]:
        """Return all paid requests, oldest first."""
        with self._core.lock:
            return list(self._generations.values())

    def generation(self, id_task: str) -> Generation | None:
        """Return one paid request."""
        return self._generations.get(id_task)

    def add_generation(
        self, target: Target, person: Person, request: GenerationRequest, price: float, base_url: str
    ) -> Generation:
        """Add a paid request and take its faults."""
        now = self._core.clock.time()
        generation = Generation(uuid.uuid4().hex, target, person, request, price, now, base_url)
        generation.faults = self._core.faults.take_each(
            GENERATION, GENERATION_KINDS, lambda fault: _concerns(fault, generation)
        )
        with self._core.lock:
            self._generations[generation.id_task] = generation
            active = sum(1 for other in self._generations.values() if not other.ended)
        self.counters.generation(generation, active)
        return generation

    def ledger(self) -> list[dict[str, Any]]:
        """Return all paid requests as JSON values, oldest first."""
        return [generation.as_dict() for generation in self.generations()]


def _concerns(fault: Fault, generation: Generation) -> bool:
    """Return whether a fault applies to this generation: no picture, person or keyword that it names differs."""
    wanted = {
        "id_image": generation.target.id_image,
        "id_person": generation.person.id,
        "keyword": generation.request.word,
    }
    return all(fault.get(name, None) in (None, value) for name, value in wanted.items())
