# SPDX-License-Identifier: Apache-2.0
"""Swap the model on uploaded images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from airflow_provider_piktid.operators.base import PaidJobOperator


class PiktidModelSwapOperator(PaidJobOperator):
    """
    Swap one identity into uploaded images.

    This costs credits. Submits one job per ten images, within the limits of the account, and waits for all of
    them. A retry or a clear with unchanged input attaches to the jobs of earlier tries instead of paying again.

    :param identity_code: Identity to swap in, of the account or of the platform, such as ``PiktidSummer``.
    :param project_id: Project of the images, as the upload returned it.
    :param images: ``file_id`` values, any number.
    :param model: Engine: ``auto``, ``onda``, ``nano_banana_pro`` or ``nano_banana_2``. Another one needs
        ``force_model=True``. The engine that ran is in the manifest as ``model_used``. Default: ``auto``.
    :param num_variations: Outputs per image, 1 to 4. Each one is billed. Default: 1.
    :param post_process: Let PiktID post-process the results, and wait for it. Always sent, as PiktID's documents
        disagree about its default. Default: False.
    :param add_ai_watermark: Add a visible AI watermark to outputs; it cannot be removed. Default: False.
    :param use_anchor: Keep the same person over a set of images. Default: none, PiktID decides.
    :param swap_options: More fields of ``swap_options``, passed through. Default: none.
    :param force_model: Send a ``model`` that this package does not know. Default: False.

    Further parameters, such as ``timeout``, ``deferrable``, ``state_path``, ``max_credits``, are those of
    ``PaidJobOperator`` and ``PaidOperator``.

    :return: Job ids in the order of the images. XCom keys: ``summary``, counts and credits; also of a task that
        failed, ``job_ids`` once all are submitted, and ``jobs``, ``[job id or None, number of images]`` in order.
    :raises PiktidJobFailedError: A job failed or has no output.
    :raises PiktidJobTimeout: The deadline passed; the jobs are still running and will be billed.
    :raises PiktidSubmissionError: The reply to a paid request was lost and its outcome is unknown.
    """

    job_type = "airflow_provider_piktid.models.model_swap.ModelSwap"
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
