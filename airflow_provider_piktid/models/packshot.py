# SPDX-License-Identifier: Apache-2.0
"""Packshots of one product: all images show it, and each instruction is one kind of output."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Final

from airflow_provider_piktid.models.combined import CombinedJob
from airflow_provider_piktid.models.instructions import (
    FORMATS,
    RATIOS,
    SIZES,
    Reader,
    number,
    one_of,
    read_fields,
    text,
)
from airflow_provider_piktid.models.job_type import check_flag, check_number

STYLES: Final = ("flat_lay", "ghost_mannequin", "marketing_ready", "white_cutout", "free")
FRAMINGS: Final = ("square_packshot", "tall_3_4", "wide_4_3", "full_frame")
ANGLES: Final = ("front", "back", "three_quarter", "top_down", "detail_macro")
SHADOWS: Final = ("auto", "none", "contact", "soft_drop", "natural")
#: Outputs per instruction. Source: PiktID's reference, as the ranges below.
MAX_VARIATIONS: Final = 8
#: Width and height of an output in pixels: least, most, and what they must be a multiple of.
SIDE: Final = (256, 7000, 8)
MAX_SEED: Final = 2**32 - 1

_OPTIONS: dict[str, Reader] = {
    "size": one_of(*SIZES),
    "ar": one_of(*RATIOS),
    "format": one_of(*FORMATS),
    "width": number(*SIDE),
    "height": number(*SIDE),
}


def _options(name: str, value: Any) -> dict[str, Any]:
    options = read_fields(name, value, _OPTIONS)
    if ("width" in options) != ("height" in options):
        raise ValueError(f"{name} needs width and height together")
    return options


@dataclass(frozen=True, kw_only=True)
class Packshot(CombinedJob):
    """
    Make packshots of the product that up to ten images show. Each output costs credits.

    :param instructions: Mappings with ``style`` (required), ``background``, ``composition``, ``props``, ``surface``,
        ``color_palette``, ``lighting``, ``framing``, ``angle``, ``shadow``, ``prompt``, ``seed``, ``num_variations`` (1
        to 8) and ``options`` (``size``, ``ar``, ``format``, ``width`` with ``height``).
    :param use_anchor: Keep the product the same over the outputs. Default: False, as PiktID's.
    :param anchor_index: Number of the output that the others follow, from 0. Default: 0.
    """

    word: ClassVar[str] = "create_packshot"
    path: ClassVar[str] = "/create-packshot"
    noun: ClassVar[str] = "packshot"
    required: ClassVar[tuple[str, ...]] = ("style",)
    fields: ClassVar[Mapping[str, Reader]] = {
        "style": one_of(*STYLES),
        **dict.fromkeys(
            ("background", "composition", "props", "surface", "color_palette", "lighting", "prompt"), text
        ),
        "framing": one_of(*FRAMINGS),
        "angle": one_of(*ANGLES),
        "shadow": one_of(*SHADOWS),
        "seed": number(0, MAX_SEED),
        "num_variations": number(1, MAX_VARIATIONS),
        "options": _options,
    }

    use_anchor: bool = False
    anchor_index: int = 0

    def __post_init__(self) -> None:
        check_flag("use_anchor", self.use_anchor)
        super().__post_init__()
        if not self.instructions:
            raise ValueError("instructions needs at least one mapping with the field 'style'")
        check_number("anchor_index", self.anchor_index, 0, self.outputs(1) - 1)

    def options(self) -> dict[str, Any]:
        anchor = {"use_anchor": self.use_anchor, "anchor_index": self.anchor_index}
        return super().options() | anchor
