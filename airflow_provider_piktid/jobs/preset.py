# SPDX-License-Identifier: Apache-2.0
"""The extraction of a preset: a paid request that is answered at once, and whose answer PiktID shows only once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Self

from airflow_provider_piktid.common import metrics
from airflow_provider_piktid.common.paid import PaidRequest, Terms
from airflow_provider_piktid.common.protocols import Finished, Step
from airflow_provider_piktid.common.records import fingerprint, shared_fields
from airflow_provider_piktid.exceptions import PiktidSubmissionError
from airflow_provider_piktid.jobs.one_request import OneRequestRecord, OneRequestRun

if TYPE_CHECKING:
    from airflow_provider_piktid.common.events import JobEvent

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
class PresetRecord(OneRequestRecord):
    """What a task instance has extracted."""

    WHAT: ClassVar[str] = "extracted presets"
    NEWEST: ClassVar[int] = RECORD_VERSION

    item: Extraction
    version: int = RECORD_VERSION

    @property
    def job_ids(self) -> list[str]:
        return [f"preset of {self.item.file_id}"] if self.is_sent else []

    @classmethod
    def _build(cls, value: Mapping[str, Any]) -> Self:
        return cls(item=Extraction(**value["item"]), **shared_fields(value))


class PresetRun(OneRequestRun[PresetRecord]):
    """
    What one process does of a task that extracts a preset. The result is the answer of PiktID.

    :param parts: Those of :class:`OneRequestRun`.
    """

    pending: ClassVar[str] = "The preset is not extracted yet"

    def __init__(self, file_id: str, preset_type: str, terms: Terms, **parts: Any) -> None:
        super().__init__(terms, parse=PresetRecord.from_json, **parts)
        self._file_id = file_id
        self._preset_type = preset_type

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
        return self._after_room(event)

    def _fingerprint(self) -> str:
        return fingerprint(
            {
                "connection": self._terms.connection,
                "file_id": self._file_id,
                "type": self._preset_type,
                "rerun_key": self._terms.rerun_key,
            }
        )

    def _sent(self) -> Step:
        return Finished(self.record.item.answer)

    def send(self, item: Extraction) -> None:
        preset = self._client.extract_preset(item.file_id, item.preset_type, wait=False)
        item.answer = {
            "type": item.preset_type,
            "instruction_data": preset.instruction_data,
            "suggested_name": preset.suggested_name,
            "suggested_description": preset.suggested_description,
        }
        metrics.count("presets.submitted")

    def unknown(self, item: Extraction) -> PiktidSubmissionError:
        return PiktidSubmissionError(
            f"{self._terms.connection}: {self.label(item)} may have been paid for, and its answer is lost: PiktID does "
            "not show it again. Set on_lost_reply='resubmit' to pay for another one."
        )

    def label(self, item: Extraction) -> str:
        return f"the extraction of a preset from {item.file_id}"
