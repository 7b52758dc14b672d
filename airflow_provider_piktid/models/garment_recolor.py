# SPDX-License-Identifier: Apache-2.0
"""The recolouring of a garment in each image."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Final

from airflow_provider_piktid.models.instructions import CREDITS_BY_SIZE
from airflow_provider_piktid.models.job_type import (
    JobType,
    agrees,
    check_choice,
    check_engine,
    check_extra,
    check_flag,
    check_number,
    check_text,
)

if TYPE_CHECKING:
    from airflow_provider_piktid.models.v2 import Job

#: Engines. Source: PiktID's reference.
RECOLOR_MODELS: Final = ("auto", "nano_banana_2", "nano_banana_pro", "seedream", "gpt_image")
#: Outputs per image. Source: PiktID's reference.
MAX_VARIATIONS: Final = 8
#: Longer side of the processed picture in pixels, and the size that its price is stated for.
PROCESSING_SIZES: Final = {1024: "1K", 2048: "2K", 4096: "4K"}

#: What to recolour to: at least one is needed.
_TARGETS = ("reference_image", "reference_text", "instruction")
_OPTIONS = (
    *_TARGETS,
    "garment_label",
    "num_variations",
    "processing_size",
    "model",
    "use_anchor",
    "add_ai_watermark",
)
_DECISIVE = ("job_type", "images", "model", "num_variations", "processing_size")


@dataclass(frozen=True, kw_only=True)
class GarmentRecolor(JobType):
    """
    Give a garment another colour in each image. Each output costs credits.

    :param reference_image: File id of a picture with the colour or fabric, of the same project. Default: none.
    :param reference_text: The colour in words, such as "emerald green". Default: none.
    :param instruction: What to do, in words. Default: none. One of these three is needed.
    :param garment_label: Which garment, such as "jacket". Default: none, PiktID decides.
    :param num_variations: Outputs per image, 1 to 8. Default: 1.
    :param processing_size: 1024, 2048 or 4096 pixels, which decides the price. Default: 2048.
    :param model: One of :data:`RECOLOR_MODELS`. Default: ``auto``.
    :param force_model: Send an engine that is not in that list. Default: False.
    :param use_anchor: Keep the colour the same over the set. Default: True.
    :param post_process: Let PiktID post-process the outputs. Default: True, as PiktID's.
    :param add_ai_watermark: Add a visible mark that cannot be removed. Default: False.
    :param extra: More fields of the body, passed through unless they repeat an argument.
    :raises ValueError: An argument is invalid.
    """

    word: ClassVar[str] = "garment_recolor"
    path: ClassVar[str] = "/garment-recolor"
    noun: ClassVar[str] = "garment recolor"
    not_content: ClassVar[frozenset[str]] = frozenset({"project_id", "force_model"})

    reference_image: str | None = None
    reference_text: str | None = None
    instruction: str | None = None
    garment_label: str | None = None
    num_variations: int = 1
    processing_size: int = 2048
    model: str = "auto"
    force_model: bool = False
    use_anchor: bool = True
    post_process: bool = True
    add_ai_watermark: bool = False
    extra: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in ("project_id", *_TARGETS, "garment_label"):
            if getattr(self, name) is not None:
                check_text(name, getattr(self, name))
        if not any(getattr(self, name) for name in _TARGETS):
            raise ValueError(f"one of {', '.join(_TARGETS)} is needed: what to recolour to")
        check_number("num_variations", self.num_variations, 1, MAX_VARIATIONS)
        check_choice("processing_size", self.processing_size, tuple(PROCESSING_SIZES))
        check_engine(self.model, RECOLOR_MODELS, force=self.force_model)
        for name in ("use_anchor", "post_process", "add_ai_watermark"):
            check_flag(name, getattr(self, name))
        object.__setattr__(self, "extra", dict(self.extra or {}))
        check_extra(self.extra, ("project_id", "images", "post_process", *_OPTIONS))

    @property
    def credits_per_output(self) -> float:
        return CREDITS_BY_SIZE[PROCESSING_SIZES[self.processing_size]]

    def outputs(self, images: int) -> int:
        return images * self.num_variations

    def body(self, images: Sequence[str]) -> dict[str, Any]:
        check_text("project_id", self.project_id)
        fixed = {"project_id": self.project_id, "images": list(images), "post_process": self.post_process}
        return dict(self.extra) | fixed | self._options()

    def matches(self, job: Job, images: int) -> bool | None:
        told = {name: job.processing_options.get(name) for name in _OPTIONS}
        told |= {
            "job_type": job.job_type,
            "images": self.counted_images(job, images),
            "post_process": job.should_post_process,
        }
        wanted = dict.fromkeys(_OPTIONS) | self._options()
        wanted |= {"job_type": self.word, "images": images, "post_process": self.post_process}
        return agrees(told, wanted, (*_DECISIVE, *(name for name in _TARGETS if getattr(self, name))))

    def _options(self) -> dict[str, Any]:
        options = {name: getattr(self, name) for name in _OPTIONS}
        return {name: value for name, value in options.items() if value is not None}
