# SPDX-License-Identifier: Apache-2.0
"""Put the garments of flat lays on a model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from airflow_provider_piktid.operators.base import PaidJobOperator


class PiktidFlatToModelOperator(PaidJobOperator):
    """
    Put the garments of up to ten uploaded images on one identity; all images go into each output.

    This costs credits. All images are one job: map the operator for several looks. A retry or a clear with unchanged
    input attaches to the job of an earlier try instead of paying again.

    :param identity_code: Identity that wears the garments.
    :param project_id: Project of the images, as the upload returned it.
    :param images: ``file_id`` values, 1 to 10.
    :param instructions: At most ten mappings, each with any of ``prompt``, ``pose``, ``background``, ``seed``,
        ``num_variations`` (1 to 4) and ``options``: ``size`` (1K, 2K, 4K), ``ar`` (1:1, 3:4, 4:3, 9:16, 16:9),
        ``format`` (png, jpg). Each variation is an output and is billed. Default: none, one output as PiktID decides.
    :param notes: ``file_id`` to a note about that image, such as "inner shirt". Default: none.
    :param model: Engine: ``auto``, ``nano_banana_pro`` or ``seedream``. Another one needs ``force_model=True``. Any
        engine but ``auto`` switches PiktID's fallback off: an output that it refuses fails. Default: ``auto``.
    :param use_anchor: Keep the person the same over the outputs. Default: True.
    :param post_process: Let PiktID post-process the outputs, and wait for it. Default: False.
    :param review_config: PiktID's review of the outputs, passed through. Default: none.
    :param extra: More fields of the request, passed through. Default: none.
    :param force_model: Send a ``model`` that this package does not know. Default: False.

    Further parameters, such as ``timeout``, ``deferrable``, ``state_path``, ``max_credits``, are those of
    ``PaidJobOperator`` and ``PaidOperator``, which also describe results and errors.
    """

    job_type = "airflow_provider_piktid.models.flat_to_model.FlatToModel"
    template_fields: Sequence[str] = (
        *PaidJobOperator.template_fields,
        "identity_code",
        "instructions",
        "notes",
        "model",
        "review_config",
        "extra",
    )

    def __init__(
        self,
        *,
        identity_code: str,
        instructions: Sequence[Mapping[str, Any]] = (),
        notes: Mapping[str, str] | None = None,
        model: str = "auto",
        use_anchor: bool = True,
        post_process: bool = False,
        review_config: Mapping[str, Any] | None = None,
        extra: Mapping[str, Any] | None = None,
        force_model: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.identity_code = identity_code
        self.instructions = instructions
        self.notes = notes
        self.model = model
        self.use_anchor = use_anchor
        self.post_process = post_process
        self.review_config = review_config
        self.extra = extra
        self.force_model = force_model
