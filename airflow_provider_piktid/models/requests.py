# SPDX-License-Identifier: Apache-2.0
"""Requests with rules of their own, checked before anything is sent."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

#: Engines that the documents or the official client name.
SWAP_MODELS: Final = ("auto", "onda", "nano_banana_pro", "nano_banana_2")
MAX_VARIATIONS: Final = 4
IMAGES_PER_JOB: Final = 10

_TYPED_OPTIONS = frozenset({"model", "num_variations", "add_ai_watermark", "use_anchor"})


@dataclass(frozen=True, kw_only=True)
class ModelSwapRequest:
    """
    One paid job: swap one identity into up to ten images.

    :param identity_code: Code of the identity. No pattern: those of platform identities are words.
    :param project_id: The project's text id, never the number of listings.
    :param images: ``file_id`` values, 1 to ``images_per_job``, each once.
    :param post_process: Always sent, because the sources disagree about its default. Default False.
    :param model: ``auto``, ``onda``, ``nano_banana_pro`` or ``nano_banana_2``.
    :param force_model: Send an engine that is not in that list.
    :param num_variations: Outputs per image, 1 to 4.
    :param add_ai_watermark: A visible mark that cannot be taken off again.
    :param use_anchor: Keep the person the same over the set. Sent only when not None.
    :param use_alternative_method: The legacy flag, also understood inside ``swap_options``; True means
        ``nano_banana_pro``. Never sent.
    :param swap_options: More fields for ``swap_options``, passed through unless they repeat an argument.
    :param extra: More fields beside ``swap_options``, passed through unless they repeat an argument.
    :param images_per_job: The account's limit, 10 as documented.
    :raises ValueError: If any of this cannot be right. Nothing was sent.
    """

    identity_code: str
    project_id: str
    images: Sequence[str]
    post_process: bool = False
    model: str = "auto"
    force_model: bool = False
    num_variations: int = 1
    add_ai_watermark: bool = False
    use_anchor: bool | None = None
    use_alternative_method: bool = False
    swap_options: Mapping[str, Any] = field(default_factory=dict)
    extra: Mapping[str, Any] = field(default_factory=dict)
    images_per_job: int = IMAGES_PER_JOB

    def __post_init__(self) -> None:
        self._check_names()
        self._check_images()
        self._check_options()

    @property
    def expected_outputs(self) -> int:
        """Pictures that the job makes if all goes well."""
        return len(self.images) * self.num_variations

    @property
    def engine(self) -> str:
        """The engine to ask for, with the legacy flag taken into account."""
        legacy = self.use_alternative_method or self.swap_options.get("use_alternative_method")
        return "nano_banana_pro" if legacy else self.model

    def to_wire(self) -> dict[str, Any]:
        """Give the JSON body of ``POST /model-swap``."""
        options: dict[str, Any] = dict(self.swap_options)
        options.pop("use_alternative_method", None)
        options |= {"model": self.engine, "num_variations": self.num_variations}
        if self.add_ai_watermark:
            options["add_ai_watermark"] = True
        if self.use_anchor is not None:
            options["use_anchor"] = self.use_anchor
        return dict(self.extra) | {
            "identity_code": self.identity_code,
            "project_id": self.project_id,
            "images": list(self.images),
            "post_process": self.post_process,
            "swap_options": options,
        }

    def _check_names(self) -> None:
        for name in ("identity_code", "project_id"):
            _check_text(name, getattr(self, name))

    def _check_images(self) -> None:
        if isinstance(self.images, str) or not self.images:
            raise ValueError("images must be a list of at least one file id")
        for image in self.images:
            _check_text("each of images", image)
        if len(set(self.images)) != len(self.images):
            raise ValueError("images names a file id twice, which would be paid twice")
        if len(self.images) > self.images_per_job:
            raise ValueError(f"images has {len(self.images)} file ids, a job takes {self.images_per_job}")

    def _check_options(self) -> None:
        count: object = self.num_variations
        if not isinstance(count, int) or isinstance(count, bool) or not 1 <= count <= MAX_VARIATIONS:
            raise ValueError(
                f"num_variations must be a whole number from 1 to {MAX_VARIATIONS}, got {count!r}"
            )
        for name in ("post_process", "add_ai_watermark", "use_alternative_method"):
            if not isinstance(getattr(self, name), bool):
                raise ValueError(f"{name} must be True or False, got {getattr(self, name)!r}")
        if self.use_anchor not in (True, False, None):
            raise ValueError(f"use_anchor must be True, False or None, got {self.use_anchor!r}")
        _check_text("model", self.model)
        if self.model not in SWAP_MODELS and not self.force_model:
            raise ValueError(f"model must be one of {', '.join(SWAP_MODELS)}, got {self.model!r}")
        if self.engine == "nano_banana_pro" and self.model not in ("auto", "nano_banana_pro"):
            raise ValueError(f"use_alternative_method means nano_banana_pro, but model is {self.model!r}")
        self._check_extras()

    def _check_extras(self) -> None:
        repeated = sorted(_TYPED_OPTIONS & set(self.swap_options))
        if repeated:
            raise ValueError(f"swap_options repeats arguments: {', '.join(repeated)}")
        fixed = {"identity_code", "project_id", "images", "post_process", "swap_options"}
        if fixed & set(self.extra):
            raise ValueError(f"extra repeats arguments: {', '.join(sorted(fixed & set(self.extra)))}")


def _check_text(name: str, value: object) -> None:
    if not isinstance(value, str) or not value.strip():
        raise ValueError(f"{name} must be a text that is not empty, got {value!r}")
