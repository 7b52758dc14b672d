# SPDX-License-Identifier: Apache-2.0
"""Make packshots of a product."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from airflow_provider_piktid.operators.base import PaidJobOperator


class PiktidPackshotOperator(PaidJobOperator):
    """
    Make packshots of the product that up to ten uploaded images show; all images go into each output.

    This costs credits. All images are one job: map the operator for several products. A retry or a clear with unchanged
    input attaches to the job of an earlier try instead of paying again.

    :param project_id: Project of the images, as the upload returned it.
    :param images: ``file_id`` values, 1 to 10.
    :param instructions: One to ten mappings, each with ``style`` (``flat_lay``, ``ghost_mannequin``,
        ``marketing_ready``, ``white_cutout`` or ``free``) and any of ``background``, ``composition``, ``props``,
        ``surface``, ``color_palette``, ``lighting``, ``framing``, ``angle``, ``shadow``, ``prompt``, ``seed``,
        ``num_variations`` (1 to 8) and ``options``: ``size`` (1K, 2K, 4K: 3, 5 or 10 credits), ``ar``, ``format``, or
        ``width`` with ``height`` (256 to 7000 pixels, multiples of 8). Each variation is an output and is billed.
    :param notes: ``file_id`` to a note about that image, such as "back". Default: none.
    :param model: Engine: ``auto``, ``nano_banana_pro`` or ``seedream``. Another one needs ``force_model=True``. Any
        engine but ``auto`` switches PiktID's fallback off: an output that it refuses fails. Default: ``auto``.
    :param use_anchor: Keep the product the same over the outputs. Default: False.
    :param anchor_index: Number of the output that the others follow, from 0. Default: 0.
    :param post_process: Let PiktID post-process the outputs, and wait for it. Default: False.
    :param extra: More fields of the request, passed through. Default: none.
    :param force_model: Send a ``model`` that this package does not know. Default: False.

    Further parameters, such as ``timeout``, ``deferrable``, ``state_path``, ``max_credits``, are those of
    ``PaidJobOperator`` and ``PaidOperator``, which also describe results and errors.
    """

    job_type = "airflow_provider_piktid.models.packshot.Packshot"
    template_fields: Sequence[str] = (
        *PaidJobOperator.template_fields,
        "instructions",
        "notes",
        "model",
        "extra",
    )

    def __init__(
        self,
        *,
        instructions: Sequence[Mapping[str, Any]],
        notes: Mapping[str, str] | None = None,
        model: str = "auto",
        use_anchor: bool = False,
        anchor_index: int = 0,
        post_process: bool = False,
        extra: Mapping[str, Any] | None = None,
        force_model: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.instructions = instructions
        self.notes = notes
        self.model = model
        self.use_anchor = use_anchor
        self.anchor_index = anchor_index
        self.post_process = post_process
        self.extra = extra
        self.force_model = force_model
