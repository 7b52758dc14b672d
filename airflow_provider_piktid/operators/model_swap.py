# SPDX-License-Identifier: Apache-2.0
"""Swap the model on uploaded images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from airflow_provider_piktid.exceptions import PiktidConfigError, PiktidNotFoundError
from airflow_provider_piktid.operators._jobs import PaidJobOperator

if TYPE_CHECKING:
    from airflow_provider_piktid.client import PiktidClient
    from airflow_provider_piktid.models.requests import ModelSwapRequest


class PiktidModelSwapOperator(PaidJobOperator):
    """
    Swap one identity into uploaded images.

    This costs credits. Submits one job per ten images, within the limits of the account, and waits for all of
    them. A retry or a clear with unchanged input attaches to the jobs of earlier tries instead of paying again.

    :param identity_code: Identity to swap in: one of the account's or of the platform, such as ``PiktidSummer``.
    :param project_id: Project of the images, as the upload returned it.
    :param images: ``file_id`` values, any number.
    :param model: Engine: ``auto`` (default), ``onda``, ``nano_banana_pro`` or ``nano_banana_2``. Another one
        needs ``force_model=True``. What really ran stands in the manifest as ``model_used``.
    :param num_variations: Outputs per image, 1 to 4. Default 1. Each is paid.
    :param post_process: Let PiktID post-process the results, and wait for that too. Always sent, since the
        documents disagree about PiktID's default. Default False.
    :param add_ai_watermark: Mark outputs visibly as AI-generated, for good. Default False.
    :param use_anchor: Keep the person the same over a set. Sent only when set.
    :param swap_options: More fields of ``swap_options``, passed through.
    :param check_identity: Ask for the identity before paying, so that a typing error costs nothing. Default
        True.

    Further parameters, such as ``timeout``, ``deferrable``, ``state_path``, ``max_credits``, are those of
    every paid batch; see ``PaidJobOperator``.

    :return: Job ids in the order of the images. XCom keys: ``summary``, counts and credits; also of a task that
        failed, ``job_ids`` once all are submitted, and ``jobs``, ``[job id or None, number of images]`` in order.
    :raises PiktidJobFailedError: A job failed or gave no output.
    :raises PiktidJobTimeout: The deadline passed; the jobs still run and bill.
    :raises PiktidSubmissionError: The reply to a paid request was lost and its fate is unknown.
    """

    template_fields: Sequence[str] = (
        *PaidJobOperator.template_fields,
        "identity_code",
        "model",
        "num_variations",
        "swap_options",
    )

    def __init__(
        self,
        *,
        identity_code: str,
        model: str = "auto",
        num_variations: int = 1,
        post_process: bool = False,
        add_ai_watermark: bool = False,
        use_anchor: bool | None = None,
        swap_options: Mapping[str, Any] | None = None,
        force_model: bool = False,
        check_identity: bool = True,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.identity_code = identity_code
        self.model = model
        self.num_variations = num_variations
        self.post_process = post_process
        self.add_ai_watermark = add_ai_watermark
        self.use_anchor = use_anchor
        self.swap_options = swap_options
        self.force_model = force_model
        self.check_identity = check_identity

    def _fingerprint_parts(self) -> dict[str, Any]:
        return {
            "kind": "model_swap",
            "identity_code": self.identity_code,
            "model": self.model,
            "num_variations": self._variations(),
            "post_process": self.post_process,
            "add_ai_watermark": self.add_ai_watermark,
            "use_anchor": self.use_anchor,
            "swap_options": dict(self.swap_options or {}),
        }

    def _variations(self) -> int:
        # A template gives text.
        try:
            return int(self.num_variations)
        except (TypeError, ValueError):
            raise PiktidConfigError(
                f"num_variations must be a whole number from 1 to 4, not {self.num_variations!r}"
            ) from None

    def _outputs_per_image(self) -> int:
        return self._variations()

    def _request(self, images: list[str], images_per_job: int) -> ModelSwapRequest:
        from airflow_provider_piktid.models.requests import ModelSwapRequest

        try:
            return ModelSwapRequest(
                identity_code=self.identity_code,
                project_id=self.project_id,
                images=images,
                model=self.model,
                force_model=self.force_model,
                num_variations=self._variations(),
                post_process=self.post_process,
                add_ai_watermark=self.add_ai_watermark,
                use_anchor=self.use_anchor,
                swap_options=self.swap_options or {},
                images_per_job=images_per_job,
            )
        except ValueError as error:
            raise PiktidConfigError(f"{self.task_id}: {error}. Nothing was sent.") from error

    def _check_request(self, client: PiktidClient, images: list[str], images_per_job: int) -> None:
        self._request(images[:images_per_job], images_per_job)
        if not self.check_identity:
            return
        try:
            client.get_identity(self.identity_code)
        except PiktidNotFoundError as error:
            raise PiktidConfigError(
                f"{self.piktid_conn_id}: there is no identity {self.identity_code!r} in this account. Correct "
                "`identity_code`, or upload one with PiktidUploadIdentityOperator. Nothing was submitted."
            ) from error

    def _submit(self, client: PiktidClient, images: list[str], images_per_job: int) -> str:
        return client.create_model_swap(self._request(images, images_per_job), wait=False).job_id

    def _is_ours(self, job: Any) -> bool:
        return job.job_type in (None, "model_swap") and job.identity_code in (None, self.identity_code)
