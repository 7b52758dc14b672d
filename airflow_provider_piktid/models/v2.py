# SPDX-License-Identifier: Apache-2.0
"""Models of the v2 API's answers. Optional fields may be missing, unknown ones are kept."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any

from pydantic import Field, model_validator

from airflow_provider_piktid.models._base import (
    Flag,
    Index,
    Mapping,
    Number,
    Objects,
    PlainData,
    RequiredText,
    RequiredWord,
    ServerText,
    Text,
    Whole,
    WireModel,
    Word,
)


class JobStatus(StrEnum):
    """Documented states of a job, of an image and of an identity's preprocessing."""

    PENDING = "pending"
    PROCESSING = "processing"
    COMPLETED = "completed"
    FAILED = "failed"
    ABORTED = "aborted"

    @property
    def is_terminal(self) -> bool:
        return self in TERMINAL


TERMINAL = frozenset({JobStatus.COMPLETED, JobStatus.FAILED, JobStatus.ABORTED})


class Project(WireModel):
    """
    A project.

    The answer to a creation names the fields ``project_id`` and ``project_name``; listings name them
    ``project_key`` and ``project_text``, and use ``project_id`` for a database number. Here ``project_id`` is
    always the text that job requests expect.
    """

    project_id: RequiredText
    project_name: Text = None
    #: The number that listings name ``project_id``; None if not returned.
    database_id: Whole = None

    @model_validator(mode="before")
    @classmethod
    def _both_namings(cls, value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        known = dict(value)
        if isinstance(known.get("project_id"), int):
            known["database_id"] = known["project_id"]
        if known.get("project_key"):
            known["project_id"] = known["project_key"]
        known["project_name"] = known.get("project_name") or known.get("project_text")
        return known

    @property
    def has_key(self) -> bool:
        """Whether ``project_id`` is the text id; without one it is the database number."""
        return self.project_id != str(self.database_id)


class UploadTicket(WireModel):
    """The upload link for one image, and its ``file_id``. The links are secrets."""

    upload_url: RequiredText = Field(repr=False)
    download_url: Text = Field(default=None, repr=False)
    file_id: RequiredText
    filename: Text = None
    content_type: RequiredText


class Identity(WireModel):
    """A person that can be swapped in. Only an upload returns ``success`` and ``face_detected``."""

    identity_code: RequiredText
    name: Text = None
    original_filename: Text = None
    link: Text = Field(default=None, repr=False)
    visibility: Text = None
    created_by: Text = None
    preprocessing_status: Word = ""
    created_at: Text = None
    updated_at: Text = None
    locked: Flag = None
    success: Flag = None
    face_detected: Flag = None


class IdentityStatus(WireModel):
    """The state of an identity's preprocessing."""

    preprocessing_status: RequiredWord
    error_message: ServerText = None
    quality_score: Number = None

    @property
    def is_terminal(self) -> bool:
        return self.preprocessing_status in TERMINAL


class PromotedIdentity(WireModel):
    """The identity that a draft became. ``promoted_before``: by an earlier request, so this one cost nothing."""

    identity_code: RequiredText
    preprocessing_job_id: Text = None
    status: Word = ""
    promoted_before: Flag = None


class ExtractedPreset(WireModel):
    """
    The settings of a style that PiktID read from a picture.

    ``instruction_data`` is what an instruction of its type has. Links in it are replaced.
    """

    instruction_data: PlainData
    suggested_name: ServerText = None
    suggested_description: ServerText = None
    file_id: Text = None


class JobCreated(WireModel):
    """A job was accepted and will be billed."""

    job_id: RequiredText
    status: Word = ""
    message: ServerText = None


class Job(WireModel):
    """The state of a job. ``status`` is lower case; values other than those of :class:`JobStatus` are possible."""

    job_id: RequiredText
    job_type: Text = None
    status: RequiredWord
    #: Percent, 0 to 100.
    progress: Number = None
    total_images: Whole = None
    processed_images: Whole = None
    error_message: ServerText = None
    should_post_process: Flag = None
    post_processing_status: Word = ""
    post_processing_error: ServerText = None
    identity_code: Text = None
    identity_name: Text = None
    #: Usually a database number; requests expect ``project_key``.
    project_id: Text = None
    project_text: Text = None
    project_key: Text = None
    processing_options: Mapping = Field(default_factory=dict, repr=False)
    created_at: Text = None
    updated_at: Text = None

    @property
    def is_terminal(self) -> bool:
        """Whether the job has ended, successfully or not, apart from post-processing."""
        return self.status in TERMINAL

    @property
    def done(self) -> bool:
        """Whether the job has ended, post-processing included."""
        if self.status != JobStatus.COMPLETED:
            return self.is_terminal
        return (
            not self.should_post_process
            or not self.post_processing_status
            or self.post_processing_status in TERMINAL
        )


class ImageLinks(WireModel):
    """Links to one picture, as input or output."""

    full_size: Text = Field(default=None, repr=False)
    thumbnail: Text = Field(default=None, repr=False)
    uuid: Text = None


class ImageResult(WireModel):
    """
    One output of a job, in one version.

    ``original_filename`` and ``download_filename`` come from the server: never use them as a path.
    """

    image_index: Index
    group_index: Index = 0
    version: Index = 0
    status: Word = ""
    id: Whole = None
    image_result_id: Whole = None
    job_id: Text = None
    original_filename: Text = None
    download_filename: Text = None
    inputs: Annotated[list[ImageLinks], Objects] = Field(default_factory=list, repr=False)
    output: ImageLinks | None = Field(default=None, repr=False)
    url: Text = Field(default=None, repr=False)
    model_used: Text = None
    output_format: Text = None
    quality_score: Number = None
    processing_time: Number = None
    error_message: ServerText = None
    created_at: Text = None

    @model_validator(mode="before")
    @classmethod
    def _absent(cls, value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        known = {key: item for key, item in value.items() if item is not None}
        if not isinstance(known.get("output"), dict):
            known.pop("output", None)
        return known

    @property
    def key(self) -> tuple[int, int]:
        """(image_index, group_index), unique among the outputs of a job."""
        return (self.image_index, self.group_index)

    @property
    def download_url(self) -> str | None:
        """The link to the full image under either of its names; None if there is no image."""
        return (self.output.full_size if self.output else None) or self.url or None


class JobSummary(WireModel):
    """Counts of a job's results. The scales of the two rates are undocumented."""

    total_images: Whole = None
    successful: Whole = None
    failed: Whole = None
    average_quality_score: Number = None
    success_rate: Number = None


class JobResults(Job):
    """The state of a job with the newest version of each output; incomplete while the job runs."""

    results: list[ImageResult] = Field(default_factory=list)
    summary: JobSummary = Field(default_factory=JobSummary)
    #: None if not returned.
    credits_used: Number = None

    @model_validator(mode="before")
    @classmethod
    def _absent(cls, value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        known = dict(value)
        if known.get("results") is None:
            known.pop("results", None)
        if not isinstance(known.get("summary"), dict):
            known.pop("summary", None)
        return known


class ImageVersions(WireModel):
    """All versions of one input's outputs, over all groups."""

    job_id: Text = None
    image_index: Whole = None
    versions: list[ImageResult]


class GalleryJob(WireModel):
    """A job in the gallery, the only documented listing of jobs."""

    job_id: RequiredText
    job_type: Text = None
    job_status: Word = ""
    identity_code: Text = None
    identity_name: Text = None
    project_id: Text = None
    project_name: Text = None
    project_key: Text = None
    created_at: Text = None
    updated_at: Text = None
    total_images: Whole = None
    completed_images: Whole = None
    failed_images: Whole = None
    images: Annotated[list[ImageResult], Objects] = Field(default_factory=list)

    @property
    def status(self) -> str:
        """``job_status``, under the name that :class:`Job` has for it."""
        return self.job_status


class Notification(WireModel):
    """An event of a job. Only the job's status is authoritative."""

    id: Whole = None
    name: Word = ""
    data: Mapping = Field(default_factory=dict, repr=False)
    #: Seconds since the epoch.
    timestamp: Number = None

    @property
    def job_id(self) -> str | None:
        """The id of the job, under either of its names; a number becomes text."""
        for key in ("id_task", "job_id"):
            value = self.data.get(key)
            if isinstance(value, str | int) and not isinstance(value, bool) and value != "":
                return str(value)
        return None

    @property
    def status(self) -> str | None:
        """The status in the data, lower case."""
        value = self.data.get("status")
        return value.strip().lower() if isinstance(value, str) else None


class DownloadLink(WireModel):
    """A link to a ZIP, valid for a limited time without a token."""

    download_url: RequiredText = Field(repr=False)
    #: ISO 8601, UTC.
    expires: Text = None


class Webhook(WireModel):
    """The account's webhook. Only the call that sets it returns ``secret``."""

    id: Whole = None
    url: Text = Field(default=None, repr=False)
    secret: Text = Field(default=None, repr=False)
    is_active: Flag = None
    created_at: Text = None
    updated_at: Text = None
    last_response_status: Whole = None
    last_response_at: Text = None


class CreditsPeriod(WireModel):
    """Credits used in one period by one type of job."""

    period_start: Text = None
    period_end: Text = None
    job_type: Text = None
    total_credits: Number = None
    job_count: Whole = None


class CreditsUsed(WireModel):
    """Credits used; the API does not return the credits left."""

    total_credits: Number = None
    summary: Annotated[list[CreditsPeriod], Objects] = Field(default_factory=list)
