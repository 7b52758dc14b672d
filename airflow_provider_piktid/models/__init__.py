# SPDX-License-Identifier: Apache-2.0
"""Wire shapes of requests and answers."""

from __future__ import annotations

from airflow_provider_piktid.models.requests import (
    IMAGES_PER_JOB,
    MAX_VARIATIONS,
    SWAP_MODELS,
    ModelSwapRequest,
)
from airflow_provider_piktid.models.v2 import (
    TERMINAL,
    CreditsPeriod,
    CreditsUsed,
    DownloadLink,
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
    UploadTicket,
    Webhook,
)

__all__ = [
    "IMAGES_PER_JOB",
    "MAX_VARIATIONS",
    "SWAP_MODELS",
    "TERMINAL",
    "CreditsPeriod",
    "CreditsUsed",
    "DownloadLink",
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
    "ModelSwapRequest",
    "Notification",
    "Project",
    "UploadTicket",
    "Webhook",
]
