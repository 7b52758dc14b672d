# SPDX-License-Identifier: Apache-2.0
"""The extraction of a preset: a paid request that is answered at once, and whose answer PiktID shows only once."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Self

from airflow_provider_piktid.common import metrics
from airflow_provider_piktid.common.paid import PaidRequest, PaidRequests, RecordedWork, Terms
from airflow_provider_piktid.common.protocols import Finished, SlotWait, Step
from airflow_provider_piktid.common.records import PaidRecord, Store, fingerprint, shared_fields
from airflow_provider_piktid.exceptions import PiktidError, PiktidSubmissionError
from airflow_provider_piktid.jobs.queue import AccountLimits
from airflow_provider_piktid.jobs.submission import wait_for_limit
from airflow_provider_piktid.jobs.waiting import SyncWaiter, slot_timeout, slot_wait

if TYPE_CHECKING:
    from airflow_provider_piktid.client import PiktidClient
    from airflow_provider_piktid.common.events import JobEvent
    from airflow_provider_piktid.common.records import CurrentTask
    from airflow_provider_piktid.hooks.piktid import PiktidSettings

STATE_KEY = "piktid_preset"
RECORD_VERSION = 1


@dataclass
class Extraction(PaidRequest):
    """
    The extraction of one preset.

    :param answer: What PiktID returned, without links. It is kept, because PiktID does not show it again.
    """

    file_id: str
    preset_type: str
    answer: dict[str, Any] | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if (self.state == "submitted") != (self.answer is not None):
            raise ValueError("an extraction has an answer exactly when it is submitted")


@dataclass
class PresetRecord(PaidRecord):
    """What a task instance has extracted."""

    WHAT: ClassVar[str] = "extracted presets"
    NEWEST: ClassVar[int] = RECORD_VERSION

    item: Extraction
    version: int = RECORD_VERSION

    @property
    def job_ids(self) -> list[str]:
        return [f"preset of {self.item.file_id}"] if self.is_sent else []

    @property
    def is_sent(self) -> bool:
        return self.item.state == "submitted"

    @classmethod
    def _build(cls, value: Mapping[str, Any]) -> Self:
        return cls(item=Extraction(**value["item"]), **shared_fields(value))


class PresetRun(RecordedWork[PresetRecord]):
    """
    What one process does of a task that extracts a preset. It is its own port to the kernel.

    The result of the work is the answer of PiktID.
    """

    def __init__(
        self,
        file_id: str,
        preset_type: str,
        terms: Terms,
        *,
        task: CurrentTask,
        settings: PiktidSettings,
        client: PiktidClient,
        store: Store[PresetRecord],
        log: Any,
    ) -> None:
        super().__init__(store, PresetRecord.from_json, log)
        self._file_id = file_id
        self._preset_type = preset_type
        self._terms = terms
        self._task = task
        self._settings = settings
        self._client = client
        self._limits = AccountLimits(settings.jobs_per_minute, settings.active_jobs, settings.rate_window)
        self._queue_until = time.time() + terms.queue_timeout

    @property
    def outstanding(self) -> list[str]:
        """An extraction is answered at once: nothing of it still runs."""
        return []

    def begin(self) -> Step:
        if self.take_up(self._fingerprint()) is None:
            self._terms.check_budget(1, 1)
            item = Extraction(file_id=self._file_id, preset_type=self._preset_type)
            if self._task.is_retry and self.other is None and not self.store.durable:
                # An earlier try may have paid; its answer is lost in any case.
                item.state, item.intent_at = "intent", 0.0
            self.warn_if_volatile()
            self.start(PresetRecord(self._fingerprint(), item))
        return self._submit()

    def resume(self, event: JobEvent) -> Step:
        self.restore(event.resume_state, self._fingerprint())
        event.raise_for_error()
        event.require("slot", "timeout")
        self._queue_until = float(event.resume_state.get("queue_until") or self._queue_until)
        if event.status == "timeout":
            raise slot_timeout(self._terms.connection, 1, 1, self._terms.queue_timeout, [])
        return self._submit()

    def leave(self) -> None:
        """There is nothing to publish before the end."""

    def _fingerprint(self) -> str:
        return fingerprint(
            {
                "connection": self._terms.connection,
                "file_id": self._file_id,
                "type": self._preset_type,
                "rerun_key": self._terms.rerun_key,
            }
        )

    def _submit(self) -> Step:
        item = self.record.item
        wait = PaidRequests([item], self, self._terms, save=self.save, log=self.log).advance()
        if wait is None:
            return Finished(item.answer)
        self.save()
        if time.time() >= self._queue_until:
            raise slot_timeout(self._terms.connection, 1, 1, self._terms.queue_timeout, [])
        return slot_wait(
            wait,
            SyncWaiter(self._client, self._settings, self._terms.poll_interval, self.log),
            active=[],
            unsent=1,
            until=self._queue_until,
            state={"record": self.record.to_json(), "queue_until": self._queue_until},
            message=f"The preset is not extracted yet; waiting: {wait.reason}.",
        )

    # -- the port -------------------------------------------------------------------------------------------

    def ready(self, item: Extraction) -> SlotWait | None:
        return None

    def send(self, item: Extraction) -> None:
        preset = self._client.extract_preset(item.file_id, item.preset_type, wait=False)
        item.answer = {
            "type": item.preset_type,
            "instruction_data": preset.instruction_data,
            "suggested_name": preset.suggested_name,
            "suggested_description": preset.suggested_description,
        }
        metrics.count("presets.submitted")

    def find(self, item: Extraction) -> bool:
        # PiktID lists no extractions.
        return False

    def refused(self, item: Extraction, error: PiktidError) -> SlotWait:
        return wait_for_limit(error, self._limits, time.time())

    def unknown(self, item: Extraction) -> PiktidSubmissionError:
        return PiktidSubmissionError(
            f"{self._terms.connection}: {self.label(item)} may have been paid for, and its answer is lost: PiktID does "
            "not show it again. Set on_lost_reply='resubmit' to pay for another one."
        )

    def label(self, item: Extraction) -> str:
        return f"the extraction of a preset from {item.file_id}"
