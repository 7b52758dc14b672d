# SPDX-License-Identifier: Apache-2.0
"""Drafts of new identities: faces that do not exist, from a brief. A job without images and without a project."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Final

from airflow_provider_piktid.models.instructions import (
    FORMATS,
    RATIOS,
    SIZES,
    Fields,
    Reader,
    credits_each,
    number,
    one_of,
    read_fields,
    read_instructions,
    text,
    text_or_number,
    variations,
)
from airflow_provider_piktid.models.job_type import JobType, agrees, check_engine, check_extra, check_text

if TYPE_CHECKING:
    from airflow_provider_piktid.models.v2 import Job

#: Engines, and what one of them cannot do. Source: PiktID's client.
ENGINES: Final = ("auto", "nano_banana_pro", "seedream", "orbita")
ORBITA: Final = "orbita"
#: Ratios beside those of the other job types; ``orbita`` has not these. Source: PiktID's client.
MORE_RATIOS: Final = ("4:5", "5:4", "21:9")
#: Drafts of one instruction. Source: PiktID's guide, as the number of input assets.
MAX_VARIATIONS: Final = 8
MAX_INPUT_ASSETS: Final = 3
#: Groups of an instruction and their fields. Source: PiktID's guide.
GROUPS: Final[Mapping[str, tuple[str, ...]]] = {
    "appearance": ("gender", "age", "ethnicity", "skin", "build", "size", "height", "expression"),
    "face": ("eyes", "eyebrows", "nose", "lips", "smile", "face_shape", "facial_hair", "makeup", "marks"),
    "hair": ("color", "length", "style"),
}

_FIXED_FIELDS = ("instructions", "options", "name")


def _input_assets(name: str, value: Any) -> list[dict[str, Any]]:
    if isinstance(value, (str, Mapping)) or not isinstance(value, Sequence):
        raise ValueError(f"{name} must be a list of file ids, not {type(value).__name__}")
    if len(value) > MAX_INPUT_ASSETS:
        raise ValueError(f"{name} has {len(value)} files, an instruction takes {MAX_INPUT_ASSETS}")
    given = [item if isinstance(item, Mapping) else {"file_id": item} for item in value]
    return [
        read_fields(f"{name}[{place}]", item, {"file_id": text}, ("file_id",))
        for place, item in enumerate(given)
    ]


@dataclass(frozen=True, kw_only=True)
class IdentityCreation(JobType):
    """
    Draw drafts of identities from a brief. Each draft costs credits; none is an identity yet.

    :param instructions: One to ten mappings, each with any of ``appearance``, ``face`` and ``hair`` (mappings, see
        :data:`GROUPS`) and ``prompt``, which takes precedence; ``input_assets`` (up to three file ids),
        ``num_variations`` (1 to 8) and ``options`` (``size``, ``ar``, ``format``).
    :param name: Name that an identity gets when one of the drafts is promoted. Default: PiktID decides.
    :param model: Engine. Default: ``auto``. ``orbita`` makes 1K only and takes no input assets.
    :param force_model: Send an engine that this package does not know. Default: False.
    :param extra: More fields of the body, passed through unless they repeat an argument. Default: none.
    :raises ValueError: An argument is invalid.
    """

    word: ClassVar[str] = "identity_creation"
    path: ClassVar[str] = "/identity/create"
    noun: ClassVar[str] = "new identity"
    takes_images: ClassVar[bool] = False
    not_content: ClassVar[frozenset[str]] = frozenset({"project_id", "force_model"})
    fields: ClassVar[Mapping[str, Reader]] = {
        **{name: Fields(dict.fromkeys(inner, text_or_number)) for name, inner in GROUPS.items()},
        "prompt": text,
        "input_assets": _input_assets,
        "num_variations": number(1, MAX_VARIATIONS),
        "options": Fields(
            {"size": one_of(*SIZES), "ar": one_of(*RATIOS, *MORE_RATIOS), "format": one_of(*FORMATS)}
        ),
    }

    instructions: Sequence[Mapping[str, Any]] = ()
    name: str | None = None
    model: str = "auto"
    force_model: bool = False
    extra: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        read = read_instructions(self.instructions, self.fields)
        object.__setattr__(self, "instructions", read)
        object.__setattr__(self, "extra", dict(self.extra or {}))
        if not read:
            raise ValueError("instructions needs at least one mapping that describes a person")
        if self.name is not None:
            check_text("name", self.name)
        check_engine(self.model, ENGINES, force=self.force_model)
        check_extra(self.extra, _FIXED_FIELDS)
        for place, instruction in enumerate(read):
            self._check_instruction(f"instructions[{place}]", instruction)

    def _check_instruction(self, name: str, instruction: Mapping[str, Any]) -> None:
        if not any(instruction.get(key) for key in ("prompt", *GROUPS)):
            raise ValueError(f"{name} describes nobody: it needs {', '.join(GROUPS)} or a prompt")
        if self.model != ORBITA:
            return
        options = instruction.get("options", {})
        if options.get("size", "1K") != "1K" or options.get("ar") in MORE_RATIOS:
            raise ValueError(f"{name}.options: {ORBITA} makes size 1K and none of {', '.join(MORE_RATIOS)}")
        if instruction.get("input_assets"):
            raise ValueError(f"{name}.input_assets: {ORBITA} takes none")

    @property
    def credits_per_output(self) -> float:
        return credits_each(self.instructions)

    def outputs(self, images: int) -> int:
        return variations(self.instructions)

    def body(self, images: Sequence[str]) -> dict[str, Any]:
        named = {} if self.name is None else {"name": self.name}
        body = {"instructions": list(self.instructions), "options": {"model": self.model}}
        return dict(self.extra) | body | named

    def matches(self, job: Job, images: int) -> bool | None:
        wanted: dict[str, object] = {
            "job_type": self.word,
            "instructions": list(self.instructions),
            "model": self.model,
            "name": self.name,
        }
        told = {name: job.processing_options.get(name) for name in wanted} | {"job_type": job.job_type}
        return agrees(told, wanted, ("job_type", "instructions", "model"))
