# SPDX-License-Identifier: Apache-2.0
"""The model swap: swaps one identity into each image."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Final

from airflow_provider_piktid.models.job_type import (
    JobType,
    agrees,
    check_engine,
    check_extra,
    check_flag,
    check_number,
    check_text,
)

if TYPE_CHECKING:
    from airflow_provider_piktid.models.v2 import Job

#: Engines that the documents or the official client name.
SWAP_MODELS: Final = ("auto", "onda", "nano_banana_pro", "nano_banana_2")
#: Outputs per image. Source: PiktID's reference.
MAX_VARIATIONS: Final = 4

_TYPED_OPTIONS = frozenset({"model", "num_variations", "add_ai_watermark", "use_anchor"})
#: Fields without which a job cannot be recognised.
_DECISIVE = ("job_type", "identity_code", "images", "model", "num_variations")
_FIXED_FIELDS = frozenset({"identity_code", "project_id", "images", "post_process", "swap_options"})


@dataclass(frozen=True, kw_only=True)
class ModelSwap(JobType):
    """
    Swap one identity into images. Each output costs credits.

    :param identity_code: Code of the identity; those of PiktID's own identities are names.
    :param project_id: The project's text id, not the number in listings.
    :param post_process: Always sent, because the sources disagree about its default. Default: False.
    :param model: ``auto``, ``onda``, ``nano_banana_pro`` or ``nano_banana_2``. Default: ``auto``.
    :param force_model: Send an engine that is not in that list. Default: False.
    :param num_variations: Outputs per image, 1 to 4. Default: 1.
    :param add_ai_watermark: Add a visible mark that cannot be removed. Default: False.
    :param use_anchor: Keep the person the same over the set. Default: not sent.
    :param use_alternative_method: The legacy flag, also understood inside ``swap_options``; True means
        ``nano_banana_pro``. Never sent.
    :param swap_options: More fields for ``swap_options``, passed through unless they repeat an argument.
    :param extra: More fields beside ``swap_options``, passed through unless they repeat an argument.
    :raises ValueError: An argument is invalid.
    """

    word: ClassVar[str] = "model_swap"
    path: ClassVar[str] = "/model-swap"
    noun: ClassVar[str] = "model swap"
    not_content: ClassVar[frozenset[str]] = frozenset({"project_id", "force_model"})

    identity_code: str
    post_process: bool = False
    model: str = "auto"
    force_model: bool = False
    num_variations: int = 1
    add_ai_watermark: bool = False
    use_anchor: bool | None = None
    use_alternative_method: bool = False
    swap_options: Mapping[str, Any] = field(default_factory=dict)
    extra: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_text("identity_code", self.identity_code)
        if self.project_id is not None:
            check_text("project_id", self.project_id)
        check_number("num_variations", self.num_variations, 1, MAX_VARIATIONS)
        for name in ("swap_options", "extra"):
            object.__setattr__(self, name, dict(getattr(self, name) or {}))
        self._check_options()
        self._check_repeated()

    @property
    def identity(self) -> str:
        return self.identity_code

    @property
    def engine(self) -> str:
        """The engine to request; the legacy flag is applied."""
        legacy = self.use_alternative_method or self.swap_options.get("use_alternative_method")
        return "nano_banana_pro" if legacy else self.model

    def outputs(self, images: int) -> int:
        return images * self.num_variations

    def body(self, images: Sequence[str]) -> dict[str, Any]:
        check_text("project_id", self.project_id)
        return dict(self.extra) | {
            "identity_code": self.identity_code,
            "project_id": self.project_id,
            "images": list(images),
            "post_process": self.post_process,
            "swap_options": self._wire_options(),
        }

    def matches(self, job: Job, images: int) -> bool | None:
        listed, ours = self._listed(job, images), self._expected(images)
        # The server's default for an anchor that was not sent is undocumented.
        ours.setdefault("use_anchor", listed["use_anchor"])
        return agrees(listed, ours, _DECISIVE)

    def _listed(self, job: Job, images: int) -> dict[str, object]:
        """Return what PiktID returns about a job, under the names of :meth:`_expected`."""
        options: dict[str, object] = {name: job.processing_options.get(name) for name in _TYPED_OPTIONS}
        return options | {
            "job_type": job.job_type,
            "identity_code": job.identity_code,
            "images": self.counted_images(job, images),
            "post_process": job.should_post_process,
        }

    def _expected(self, images: int) -> dict[str, object]:
        """Return what PiktID would return about a job that this request started."""
        expected: dict[str, object] = {
            "job_type": self.word,
            "identity_code": self.identity_code,
            "images": images,
            "post_process": self.post_process,
            "add_ai_watermark": False,
        }
        return expected | self._wire_options()

    def _wire_options(self) -> dict[str, Any]:
        options = dict(self.swap_options)
        options.pop("use_alternative_method", None)
        options |= {"model": self.engine, "num_variations": self.num_variations}
        if self.add_ai_watermark:
            options["add_ai_watermark"] = True
        if self.use_anchor is not None:
            options["use_anchor"] = self.use_anchor
        return options

    def _check_options(self) -> None:
        for name in ("post_process", "add_ai_watermark", "use_alternative_method"):
            check_flag(name, getattr(self, name))
        if self.use_anchor is not None:
            check_flag("use_anchor", self.use_anchor)
        check_engine(self.model, SWAP_MODELS, force=self.force_model)
        if self.engine == "nano_banana_pro" and self.model not in ("auto", "nano_banana_pro"):
            raise ValueError(f"use_alternative_method means nano_banana_pro, but model is {self.model!r}")

    def _check_repeated(self) -> None:
        repeated = sorted(_TYPED_OPTIONS & set(self.swap_options))
        if repeated:
            raise ValueError(f"swap_options repeats arguments: {', '.join(repeated)}")
        check_extra(self.extra, _FIXED_FIELDS)
