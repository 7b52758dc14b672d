# SPDX-License-Identifier: Apache-2.0
"""Give garments another colour."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from airflow_provider_piktid.operators.base import PaidJobOperator


class PiktidGarmentRecolorOperator(PaidJobOperator):
    """
    Give a garment another colour in each of the uploaded images.

    This costs credits. Submits one job per ten images, within the limits of the account, and waits for all of
    them. A retry or a clear with unchanged input attaches to the jobs of earlier tries instead of paying again.

    :param project_id: Project of the images, as the upload returned it.
    :param images: ``file_id`` values, any number.
    :param reference_image: ``file_id`` of a picture with the colour or fabric, in the same project. Default: none.
    :param reference_text: The colour in words, such as "emerald green". Default: none.
    :param instruction: What to do, in words. Default: none. One of these three is needed.
    :param garment_label: Which garment, such as "jacket". Default: none, PiktID decides.
    :param num_variations: Outputs per image, 1 to 8. Each one is billed. Default: 1.
    :param processing_size: 1024, 2048 or 4096 pixels; an output costs 3, 5 or 10 credits. Default: 2048.
    :param model: Engine: ``auto``, ``nano_banana_2``, ``nano_banana_pro``, ``seedream`` or ``gpt_image``. Another one
        needs ``force_model=True``. Any engine but ``auto`` switches PiktID's fallback off: an image that it refuses
        fails. Default: ``auto``.
    :param use_anchor: Keep the colour the same over the images. Default: True.
    :param post_process: Let PiktID post-process the outputs, and wait for it. Default: True.
    :param add_ai_watermark: Add a visible AI watermark to outputs; it cannot be removed. Default: False.
    :param extra: More fields of the request, passed through. Default: none.
    :param force_model: Send a ``model`` that this package does not know. Default: False.

    Further parameters, such as ``timeout``, ``deferrable``, ``state_path``, ``max_credits``, are those of
    ``PaidJobOperator`` and ``PaidOperator``, which also describe results and errors.
    """

    job_type = "airflow_provider_piktid.models.garment_recolor.GarmentRecolor"
    template_fields: Sequence[str] = (
        *PaidJobOperator.template_fields,
        "reference_image",
        "reference_text",
        "instruction",
        "garment_label",
        "num_variations",
        "processing_size",
        "model",
        "extra",
    )

    def __init__(
        self,
        *,
        reference_image: str | None = None,
        reference_text: str | None = None,
        instruction: str | None = None,
        garment_label: str | None = None,
        num_variations: int = 1,
        processing_size: int = 2048,
        model: str = "auto",
        use_anchor: bool = True,
        post_process: bool = True,
        add_ai_watermark: bool = False,
        extra: Mapping[str, Any] | None = None,
        force_model: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.reference_image = reference_image
        self.reference_text = reference_text
        self.instruction = instruction
        self.garment_label = garment_label
        self.num_variations = num_variations
        self.processing_size = processing_size
        self.model = model
        self.use_anchor = use_anchor
        self.post_process = post_process
        self.add_ai_watermark = add_ai_watermark
        self.extra = extra
        self.force_model = force_model
