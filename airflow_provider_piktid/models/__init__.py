# SPDX-License-Identifier: Apache-2.0
"""Models of requests and answers."""

from __future__ import annotations

from airflow_provider_piktid.models._base import one_line
from airflow_provider_piktid.models.job_type import JobType
from airflow_provider_piktid.models.v2 import (
    TERMINAL,
    CreditsPeriod,
    CreditsUsed,
    DownloadLink,
    ExtractedPreset,
    GalleryJob,
    Identity,
    IdentityStatus,
    ImageLinks,
    ImageResult,
    ImageVersions,
    Job,
    JobCreated,
    JobResults,
    JobStatus,
    JobSummary,
    Notification,
    Project,
    PromotedIdentity,
    UploadTicket,
    Webhook,
)

__all__ = [
    "TERMINAL",
    "CreditsPeriod",
    "CreditsUsed",
    "DownloadLink",
    "ExtractedPreset",
    "GalleryJob",
    "Identity",
    "IdentityStatus",
    "ImageLinks",
    "ImageResult",
    "ImageVersions",
    "Job",
    "JobCreated",
    "JobResults",
    "JobStatus",
    "JobSummary",
    "JobType",
    "Notification",
    "Project",
    "PromotedIdentity",
    "UploadTicket",
    "Webhook",
    "one_line",
]
