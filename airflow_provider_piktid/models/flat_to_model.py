# SPDX-License-Identifier: Apache-2.0
"""Flat lays of garments on a model: all images are combined into each output."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

from airflow_provider_piktid.models.combined import CombinedJob
from airflow_provider_piktid.models.instructions import (
    FORMATS,
    RATIOS,
    SIZES,
    Fields,
    Reader,
    number,
    one_of,
    text,
)
from airflow_provider_piktid.models.job_type import check_flag, check_text

#: Outputs per instruction. Source: PiktID's reference.
MAX_VARIATIONS = 4
#: Seeds are undocumented; a 32-bit number is what engines take.
MAX_SEED = 2**32 - 1


@dataclass(frozen=True, kw_only=True)
class FlatToModel(CombinedJob):
    """
    Put the garments of up to ten images on one identity. Each output costs credits.

    :param identity_code: Code of the identity that wears them.
    :param instructions: Mappings with ``prompt``, ``pose``, ``background``, ``seed``, ``num_variations`` (1 to 4) and
        ``options`` (``size``, ``ar``, ``format``), all optional. Default: none, one output as PiktID decides.
    :param use_anchor: Keep the person the same over the outputs. Default: True, as PiktID's.
    :param review_config: PiktID's review of the outputs, passed through. Default: none.
    """

    word: ClassVar[str] = "flat_2_model"
    path: ClassVar[str] = "/flat-2-model"
    noun: ClassVar[str] = "flat-lay to model"
    fields: ClassVar[Mapping[str, Reader]] = {
        "prompt": text,
        "pose": text,
        "background": text,
        "seed": number(0, MAX_SEED),
        "num_variations": number(1, MAX_VARIATIONS),
        "options": Fields({"size": one_of(*SIZES), "ar": one_of(*RATIOS), "format": one_of(*FORMATS)}),
    }

    identity_code: str
    use_anchor: bool = True
    review_config: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_text("identity_code", self.identity_code)
        check_flag("use_anchor", self.use_anchor)
        if not isinstance(self.review_config or {}, Mapping):
            raise ValueError(f"review_config must be a mapping, not {type(self.review_config).__name__}")
        object.__setattr__(self, "review_config", dict(self.review_config or {}))
        super().__post_init__()

    @property
    def identity(self) -> str:
        return self.identity_code

    def body(self, images: Sequence[str]) -> dict[str, Any]:
        review = {"review_config": dict(self.review_config)} if self.review_config else {}
        return super().body(images) | {"identity_code": self.identity_code} | review

    def options(self) -> dict[str, Any]:
        return super().options() | {"use_anchor": self.use_anchor}
