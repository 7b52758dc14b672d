# SPDX-License-Identifier: Apache-2.0
"""Extract a preset from a picture, as an instruction for other operators."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from airflow_provider_piktid.common.records import CurrentTask
from airflow_provider_piktid.exceptions import PiktidConfigError
from airflow_provider_piktid.hooks.piktid import PiktidHook
from airflow_provider_piktid.jobs.preset import STATE_KEY, PresetRecord, PresetRun
from airflow_provider_piktid.operators.base import PaidOperator

if TYPE_CHECKING:
    from airflow_provider_piktid.client import PiktidClient


class PiktidExtractPresetOperator(PaidOperator):
    """
    Let PiktID read the style of an uploaded picture, as one of the ``instructions`` of another operator.

    This costs credits; PiktID does not state how many. The answer is kept with the record, because PiktID shows it
    once: a retry or a clear with unchanged input returns it again and pays nothing.

    :param file_id: The picture, as the upload returned it.
    :param preset_type: For which jobs: ``flat_2_model``, ``create_packshot``, ``identity_creation`` or ``model_swap``.
        Default: ``flat_2_model``, as PiktID's.
    :param override: Fields that the instruction has in any case, such as ``{"num_variations": 2}``. Number and size of
        outputs are never taken from the picture. Default: none.

    Further parameters are those of ``PaidOperator``.

    :return: The instruction, for ``instructions=[extract.output]``. XCom key ``preset``: what PiktID returned, with
        ``instruction_data``, ``suggested_name`` and ``suggested_description``.
    :raises PiktidSubmissionError: The reply was lost, and ``on_lost_reply`` is ``fail``.
    """

    template_fields: Sequence[str] = (*PaidOperator.template_fields, "file_id", "preset_type", "override")

    def __init__(
        self,
        *,
        file_id: str,
        preset_type: str = "flat_2_model",
        override: Mapping[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.file_id = file_id
        self.preset_type = preset_type
        self.override = override

    def _make_run(self, task: CurrentTask, hook: PiktidHook, client: PiktidClient) -> PresetRun:
        self._check()
        return PresetRun(
            self.file_id,
            self.preset_type,
            self._terms(),
            **self._parts(task, hook, client, STATE_KEY, PresetRecord.from_json),
        )

    def _check(self) -> None:
        from airflow_provider_piktid.models.preset import PRESET_TYPES

        wrong = ""
        if not isinstance(self.file_id, str) or not self.file_id.strip():
            wrong = (
                f'file_id must be one file id, such as `upload.output["file_ids"][0]`, not {self.file_id!r}'
            )
        elif self.preset_type not in PRESET_TYPES:
            wrong = f"preset_type must be one of {', '.join(PRESET_TYPES)}, not {self.preset_type!r}"
        elif not isinstance(self.override or {}, Mapping):
            wrong = f"override must be a mapping, not {type(self.override).__name__}"
        if wrong:
            raise PiktidConfigError(f"{self.task_id}: {wrong}. Nothing was submitted.")

    def execute(self, context: Any) -> Any:
        return self._instruction(context, super().execute(context))

    def execute_complete(self, context: Any, event: Any) -> Any:
        """Continue after a wait."""
        return self._instruction(context, super().execute_complete(context, event))

    def _instruction(self, context: Any, answer: dict[str, Any]) -> dict[str, Any]:
        from airflow_provider_piktid.models.preset import as_instruction

        CurrentTask(context).push("preset", answer)
        instruction, left_out = as_instruction(self.preset_type, answer["instruction_data"])
        if left_out:
            self.log.warning(
                "Left out, because an instruction cannot have these values: %s.", ", ".join(left_out)
            )
        if not instruction:
            self.log.warning("PiktID read nothing from %s that an instruction can have.", self.file_id)
        return instruction | dict(self.override or {})
