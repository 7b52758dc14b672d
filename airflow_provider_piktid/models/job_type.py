# SPDX-License-Identifier: Apache-2.0
"""The base class of job types: everything that differs between one type of paid v2 job and another."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, ClassVar, Self

from airflow_provider_piktid.get_provider_info import DEFAULT_IMAGES_PER_JOB

if TYPE_CHECKING:
    from airflow_provider_piktid.models.v2 import Job


@dataclass(frozen=True, kw_only=True)
class JobType(ABC):
    """
    One type of paid job with its options, for any images.

    Submission, lookup, outcome and manifest work with any type. To add a type, write a subclass;
    ``docs/architecture.md`` has the steps.

    :param project_id: The project's text id, not the number in listings; None if the type has no project.
    """

    #: ``job_type`` of a job on the wire.
    word: ClassVar[str]
    #: Path of the request that starts a job.
    path: ClassVar[str]
    #: Name of the job in messages: "model swap".
    noun: ClassVar[str]
    #: Whether all images of a job go into each of its outputs.
    combines: ClassVar[bool] = False
    #: Whether the job is made of images. One that is not has no project either, and ``images`` is always empty.
    takes_images: ClassVar[bool] = True
    #: Options that change how the request is checked or sent, but not the outputs.
    not_content: ClassVar[frozenset[str]] = frozenset({"project_id"})

    project_id: str | None = None

    @abstractmethod
    def body(self, images: Sequence[str]) -> dict[str, Any]:
        """Return the JSON body of the request for these ``file_id`` values."""

    @abstractmethod
    def outputs(self, images: int) -> int:
        """Return how many outputs a job of so many images makes if all succeed."""

    @abstractmethod
    def matches(self, job: Job, images: int) -> bool | None:
        """
        Return whether a job of the account was started by this request.

        :param job: Status or results of the job.
        :param images: Number of images in the request.
        :return: None if PiktID returns too little about the job to decide.
        """

    def counted_images(self, job: Job, images: int) -> int | None:
        """
        Return the number of images of a listed job, to be compared with that of the request.

        Whether PiktID counts inputs or outputs is undocumented, so either one is the number of the request.
        """
        return images if job.total_images in (images, self.outputs(images)) else job.total_images

    @property
    def identity(self) -> str | None:
        """Identity that must exist before the job is paid for; None if the type has none."""
        return None

    def check(self, images: Sequence[str], images_per_job: int = DEFAULT_IMAGES_PER_JOB) -> None:
        """
        Check the images of one job. The constructor checked the options.

        :raises ValueError: Not a list of distinct file ids, or more than a job takes.
        """
        if not self.takes_images:
            if images:
                raise ValueError(f"a {self.noun} job takes no images")
            return
        if isinstance(images, str) or not images:
            raise ValueError("images must be a list of at least one file id")
        for image in images:
            check_text("each of images", image)
        if len(set(images)) != len(images):
            raise ValueError("images contains a file id twice, which would be paid twice")
        if len(images) > images_per_job:
            raise ValueError(f"images has {len(images)} file ids, a job takes {images_per_job}")

    def split(self, images: int, images_per_job: int) -> list[int]:
        """Return the number of images in each job, in the order of the images."""
        if not self.takes_images:
            return [0]
        return [min(images_per_job, images - start) for start in range(0, images, images_per_job)]

    @property
    def variations(self) -> tuple[int, ...]:
        """Outputs of each instruction, in order; empty if the type has no instructions."""
        return ()

    @property
    def credits_per_output(self) -> float:
        """The price that PiktID states for one output with these options; 1 where it states none."""
        return 1.0

    def content(self) -> dict[str, Any]:
        """Return all options that change the outputs, as JSON values: equal content is the same purchase."""
        options = {field.name: getattr(self, field.name) for field in fields(self)}
        kept = {name: value for name, value in options.items() if name not in self.not_content}
        return {"job_type": self.word} | {
            name: dict(value) if isinstance(value, Mapping) else value for name, value in kept.items()
        }

    @classmethod
    def from_arguments(cls, arguments: Mapping[str, Any]) -> Self:
        """
        Create the object from operator arguments; unknown ones are ignored.

        :raises ValueError: An argument is invalid for this type.
        """
        defaults = {field.name: field.default for field in fields(cls)}
        known = {name: value for name, value in arguments.items() if name in defaults}
        return cls(**{name: untemplated(value, defaults[name]) for name, value in known.items()})


def check_text(name: str, value: object) -> None:
    """
    Check that an argument is text and not blank.

    :raises ValueError: It is not.
    """
    if not isinstance(value, str) or not value.strip():
        raise ValueError(f"{name} must be a text that is not empty, got {value!r}")


def check_flag(name: str, value: object) -> None:
    """
    Check that an argument is True or False.

    :raises ValueError: It is not.
    """
    if not isinstance(value, bool):
        raise ValueError(f"{name} must be True or False, got {value!r}")


def check_number(name: str, value: object, least: int, most: int) -> None:
    """
    Check that an argument is a whole number in a range.

    :raises ValueError: It is not.
    """
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
        raise ValueError(f"{name} must be a whole number from {least} to {most}, got {value!r}")


def check_choice(name: str, value: object, choices: Sequence[object]) -> None:
    """
    Check that an argument is one of the values that PiktID documents.

    :raises ValueError: It is not.
    """
    if value not in choices or isinstance(value, bool):
        raise ValueError(f"{name} must be one of {', '.join(map(str, choices))}, got {value!r}")


def check_engine(value: object, known: Sequence[str], *, force: bool) -> None:
    """
    Check the engine of a job.

    :param known: Engines that PiktID documents for the type.
    :param force: Accept another one.
    :raises ValueError: It is not text, or not known.
    """
    check_text("model", value)
    if value not in known and not force:
        raise ValueError(
            f"model must be one of {', '.join(known)}, got {value!r}; another one needs force_model=True"
        )


def check_extra(extra: Mapping[str, Any], fixed: Collection[str]) -> None:
    """
    Check that fields which are passed through repeat no argument.

    :raises ValueError: One does.
    """
    if repeated := sorted(set(fixed) & set(extra)):
        raise ValueError(f"extra repeats arguments: {', '.join(repeated)}")


def agrees(
    told: Mapping[str, object], wanted: Mapping[str, object], decisive: Collection[str]
) -> bool | None:
    """
    Compare what PiktID returns about a job with a request.

    :param told: What PiktID returns; None where it returns nothing.
    :param wanted: What it would return about a job that this request started.
    :param decisive: Names without which a job cannot be recognised.
    :return: None if nothing differs, but a decisive name is missing.
    """
    if any(value not in (None, wanted[name]) for name, value in told.items() if name in wanted):
        return False
    return None if any(told.get(name) is None for name in decisive) else True


def untemplated(value: Any, default: object) -> Any:
    """Return a rendered template as a number where a number is expected: templates render to text."""
    is_number = isinstance(default, int) and not isinstance(default, bool)
    text = value.strip() if isinstance(value, str) else ""
    return int(text) if is_number and text.isascii() and text.isdigit() else value
