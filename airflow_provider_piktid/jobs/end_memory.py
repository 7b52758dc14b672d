# SPDX-License-Identifier: Apache-2.0
"""Which ends of jobs an asset has reported already, kept over restarts of the triggerer."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import time
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from airflow_provider_piktid.models.v2 import GalleryJob, Job

log = logging.getLogger(__name__)

VERSION: Final = 1
#: Key of the store; and that of the ends that the receiver of the webhook has registered for the same asset.
KEY: Final = "piktid_job_events"
WEBHOOK_KEY: Final = "piktid_webhook_events"
#: Notification ids, and ends, that are kept.
LIMIT: Final = 500
#: Seconds from an event until it is remembered for good. The triggerer stores an event some time after the trigger
#: has sent it; if it is killed between, an event that is remembered would be lost.
SAVE_SECONDS: Final = 5.0
LOAD_TRIES: Final = 12
LOAD_PAUSE: Final = 5.0


def end_key(job: Job | GalleryJob) -> str | None:
    """Return what tells one end of a job from another; None if PiktID does not say when it was."""
    if not job.updated_at:
        return None
    text = f"{job.job_id} {job.status} {job.updated_at}"
    return hashlib.sha256(text.encode()).hexdigest()[:16]


class EndMemory:
    """
    The last 500 notifications and ends that were reported, and the time up to which none was missed.

    :param store: ``asset_state_store`` of the trigger. None before Airflow 3.3: a restart forgets everything.
    """

    def __init__(self, store: Any) -> None:
        self._store = store
        #: Notification id, or key of an end, to the time of its event (monotonic).
        self._ids: dict[int, float] = {}
        self._ends: dict[str, float] = {}
        #: Epoch seconds up to which every end was seen; None if nothing is known of an earlier process.
        self.seen_at: float | None = None
        self._loaded = store is None
        #: Whether the webhook reports jobs to the same asset.
        self.has_webhook = False

    def knows_notification(self, number: int | None) -> bool:
        return number in self._ids

    def knows_end(self, job: Job | GalleryJob) -> bool:
        return end_key(job) in self._ends

    def add(self, numbers: Iterable[int], job: Job) -> None:
        """Remember an end that is in an event now."""
        now = time.monotonic()
        self._ids.update(dict.fromkeys(numbers, now))
        if (key := end_key(job)) is not None:
            self._ends[key] = now
        for kept in (self._ids, self._ends):
            while len(kept) > LIMIT:
                del kept[next(iter(kept))]  # type: ignore[arg-type]

    async def load(self) -> None:
        """Read what an earlier process remembered. Without the store for a minute, go on without it."""
        for _ in range(LOAD_TRIES):
            if self._loaded:
                return
            try:
                self._restore(await self._get(KEY))
                self.has_webhook = bool(await self._get(WEBHOOK_KEY))
                self._loaded = True
            except ValueError as error:
                self._give_up(error)
            except Exception as error:  # noqa: BLE001 - of any store
                log.debug("Could not read what was reported (%s); trying again.", type(error).__name__)
                await asyncio.sleep(LOAD_PAUSE)
        if not self._loaded:
            log.warning(
                "Could not read what was reported; ends of the last ten minutes may be reported twice."
            )
            self._loaded = True

    async def of_webhook(self) -> frozenset[str]:
        """Return the ends that the webhook has reported to the same asset."""
        if self._store is None:
            return frozenset()
        try:
            value = await self._get(WEBHOOK_KEY)
        except Exception as error:  # noqa: BLE001 - of any store
            log.debug("Could not read what the webhook has reported (%s).", type(error).__name__)
            return frozenset()
        ends = frozenset(_items(value, "ends", str)) if isinstance(value, Mapping) else frozenset()
        self.has_webhook = bool(ends)
        return ends

    async def save(self) -> None:
        """Keep what was reported some seconds ago, and the time up to which nothing was missed."""
        if self._store is None:
            return
        try:
            await self._set(self._as_json(time.monotonic() - SAVE_SECONDS))
        except ValueError as error:
            self._give_up(error)
        except Exception as error:  # noqa: BLE001 - of any store
            log.debug("Could not store what was reported (%s).", type(error).__name__)

    def _as_json(self, before: float) -> dict[str, Any]:
        return {
            "ids": [number for number, at in self._ids.items() if at <= before],
            "ends": [key for key, at in self._ends.items() if at <= before],
            # JSON only, and no None.
            "seen_at": self.seen_at or 0.0,
            "version": VERSION,
        }

    def _restore(self, value: Any) -> None:
        if not isinstance(value, Mapping) or value.get("version") != VERSION:
            return
        self._ids = dict.fromkeys(_items(value, "ids", int), float("-inf"))
        self._ends = dict.fromkeys(_items(value, "ends", str), float("-inf"))
        seen_at = value.get("seen_at")
        if isinstance(seen_at, int | float) and 0 < seen_at <= time.time():
            self.seen_at = float(seen_at)

    def _give_up(self, error: ValueError) -> None:
        """Airflow's store is for triggers of one asset."""
        log.warning("Reported ends are not remembered over restarts: %s", error)
        self._store, self._loaded = None, True

    async def _get(self, key: str) -> Any:
        """Airflow 3.3.2 has asynchronous calls; before that the blocking ones run in a thread."""
        if hasattr(self._store, "aget"):
            return await self._store.aget(key)
        return await asyncio.to_thread(self._store.get, key)

    async def _set(self, value: Any) -> None:
        if hasattr(self._store, "aset"):
            await self._store.aset(KEY, value)
        else:
            await asyncio.to_thread(self._store.set, KEY, value)


def with_webhook_end(stored: Any, key: str) -> dict[str, Any]:
    """Return what is stored of the webhook with one more end; the oldest of more than 500 is left out."""
    ends = list(_items(stored, "ends", str)) if isinstance(stored, Mapping) else []
    return {"ends": [*ends, key][-LIMIT:], "version": VERSION}


def _items(value: Mapping[str, Any], name: str, kind: type) -> Iterator[Any]:
    items = value.get(name)
    for item in items if isinstance(items, list) else ():
        if isinstance(item, kind) and not isinstance(item, bool):
            yield item
