# SPDX-License-Identifier: Apache-2.0
"""Jobs, their outputs and their kinds. Times are epoch seconds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from ..blobs import Blob
from ..core import Core
from ..faults import Fault
from ..settings import Settings
from .entities import Identity, Project, StoredFile

TERMINAL = frozenset({"completed", "failed", "aborted"})


@dataclass(frozen=True)
class PlannedOutput:
    """
    An output that a new job will make.

    :param image_index: Number of the input or instruction.
    :param group_index: Variation number.
    :param inputs: Files that are combined into the output.
    :param filename: File name in the results.
    """

    image_index: int
    group_index: int
    inputs: tuple[StoredFile, ...]
    filename: str


def one_for_each(files: Sequence[StoredFile], variations: int) -> list[PlannedOutput]:
    """Return an output for each file and variation: the index of the image, and the variation as group."""
    return [
        PlannedOutput(image_index, group_index, (file,), file.filename)
        for image_index, file in enumerate(files)
        for group_index in range(variations)
    ]


class JobKind:
    """
    What is specific to one job type. Types with outputs override ``plan`` and ``picture``.

    ``job_type`` is its name in the API. Jobs of a ``paid`` type count as active and appear in the ledger.
    ``auto_model`` is the engine that ``auto`` selects.
    """

    job_type: str
    paid = True
    auto_model = ""

    def plan(self, files: Sequence[StoredFile], options: dict[str, Any]) -> list[PlannedOutput]:
        """Return the outputs of a new job."""
        return []

    def price(self, settings: Settings, options: dict[str, Any], planned: PlannedOutput) -> float:
        """Return the price of one output."""
        return settings.credits_per_output

    def picture(self, core: Core, job: Job, output: Output, sources: list[Blob]) -> Blob:
        """
        Make the picture of one output and set ``output.description``.

        :param sources: The uploaded inputs of the output.
        :raises UnreadablePicture: An input is not a picture.
        """
        raise NotImplementedError


class Preprocessing(JobKind):
    """The free preprocessing of an uploaded identity, without outputs."""

    job_type = "identity_preprocessing"
    paid = False


@dataclass
class Output:
    """One version of an output of a job: one row of its results."""

    id: int
    uuid: str
    image_index: int
    group_index: int
    inputs: tuple[StoredFile, ...]
    filename: str
    created_at: float
    version: int = 0
    download_filename: str | None = None
    status: str = "pending"
    blob: Blob | None = None
    error_message: str | None = None
    description: dict[str, Any] = field(default_factory=dict)
    started_at: float | None = None
    updated_at: float = 0.0
    processing_time: float | None = None

    @property
    def finished(self) -> bool:
        return self.status in ("completed", "failed")

    @property
    def key(self) -> tuple[int, int]:
        return self.image_index, self.group_index

    @property
    def id_image(self) -> str | None:
        """The image in events: the first input, None without inputs."""
        return self.inputs[0].file_id if self.inputs else None

    def plan(self) -> PlannedOutput:
        """Return the plan of another version of this output."""
        return PlannedOutput(self.image_index, self.group_index, self.inputs, self.filename)


@dataclass
class Job:
    """A job of any type; ``options`` are those of its request."""

    job_id: str
    kind: JobKind
    created_at: float
    updated_at: float
    identity: Identity | None = None
    project: Project | None = None
    images: list[str] = field(default_factory=list)
    options: dict[str, Any] = field(default_factory=dict)
    outputs: list[Output] = field(default_factory=list)
    post_process: bool = False
    post_processing_status: str | None = None
    post_processing_error: str | None = None
    status: str = "pending"
    error_message: str | None = None
    credits: float = 0.0
    hidden: int = 0
    faults: dict[str, Fault] = field(default_factory=dict)

    @property
    def job_type(self) -> str:
        return self.kind.job_type

    @property
    def ended(self) -> bool:
        return self.status in TERMINAL

    def newest(self) -> list[Output]:
        """Return the newest version of each output, in order."""
        rows: dict[tuple[int, int], Output] = {}
        for output in self.outputs:
            if output.key not in rows or output.version > rows[output.key].version:
                rows[output.key] = output
        return [rows[key] for key in sorted(rows)]
