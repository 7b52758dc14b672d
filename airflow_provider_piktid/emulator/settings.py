# SPDX-License-Identifier: Apache-2.0
"""Settings of an emulator."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

DEFAULT_TOKEN = "piktid-emulator"
DEFAULT_LOGIN = "demo@example.com"
DEFAULT_PASSWORD = "piktid-emulator"


@dataclass(frozen=True)
class Settings:
    """
    Settings of an emulator. Times are in seconds.

    :param token: The accepted API token.
    :param login: E-mail of the account.
    :param password: Its password.
    :param latency: Delay added to each API request.
    :param jobs_per_minute: Paid submissions per endpoint in ``rate_window``; 0 for no limit.
    :param rate_window: Length of the rate limit window.
    :param active_jobs: Largest number of pending or processing jobs; 0 for no limit.
    :param job_seconds: How long a job takes; its outputs finish at even intervals.
    :param post_process_seconds: How long post-processing takes after that.
    :param preprocessing_seconds: How long the preprocessing of an uploaded identity takes.
    :param upload_link_seconds: Lifetime of a presigned upload link. Default 900, assumed: not documented.
    :param result_link_seconds: Lifetime of a result link. Default one hour, assumed.
    :param zip_link_seconds: Lifetime of a ZIP link. Default one hour, from the example of the guide.
    :param notification_seconds: Lifetime of a notification.
    :param keepalive_seconds: Time without an event after which a stream sends a keepalive comment.
    :param credits: Balance at startup.
    :param credits_per_output: Price of one output. Default 1, assumed: not documented.
    :param generate_seconds: How long a v1 generation takes when the masks of the picture exist.
    :param mask_seconds: How long masks take, for the first request of a picture and for requests sent before they
        are ready. Default 15, the wait that the documents recommend.
    :param target_seconds: Lifetime of a picture uploaded to v1.
    :param poll_seconds: Shortest time between two polls of the v1 notifications, if ``v1_poll_limit`` is on.
    :param faces: Report this many faces in each picture uploaded to v1. Default: detect them; one face if
        ``transform`` is False.
    :param credits_per_generation: Price of one v1 generation. Default 1, assumed.
    :param credits_per_promotion: Price of the promotion of a draft. Default 50, from PiktID's client.
    :param credits_per_preset: Price of an extracted preset. Default 1, assumed.
    :param max_identities: Largest number of own identities.
    :param max_tokens: Largest number of issued API tokens.
    :param webhook_tries: Delivery attempts per notification.
    :param webhook_backoff: Wait before the second attempt; doubled for each further one.
    :param transform: False returns the input pictures as outputs, without image processing.
    :param picture_workers: Threads for image processing.
    :param data_dir: Folder for files; default a temporary one, which is removed at the end.
    :param public_url: Base URL of links in responses; default the address of the request.
    :param variants: Values of variants, see :mod:`.variants`.
    """

    token: str = DEFAULT_TOKEN
    login: str = DEFAULT_LOGIN
    password: str = DEFAULT_PASSWORD
    latency: float = 0.0
    jobs_per_minute: int = 5
    rate_window: float = 60.0
    active_jobs: int = 5
    job_seconds: float = 2.0
    post_process_seconds: float = 1.0
    preprocessing_seconds: float = 1.0
    upload_link_seconds: float = 900.0
    result_link_seconds: float = 3600.0
    zip_link_seconds: float = 3600.0
    notification_seconds: float = 600.0
    keepalive_seconds: float = 15.0
    credits: float = 1000.0
    credits_per_output: float = 1.0
    generate_seconds: float = 3.0
    mask_seconds: float = 15.0
    target_seconds: float = 86400.0
    poll_seconds: float = 3.0
    faces: int | None = None
    credits_per_generation: float = 1.0
    credits_per_promotion: float = 50.0
    credits_per_preset: float = 1.0
    max_identities: int = 50
    max_tokens: int = 20
    webhook_tries: int = 5
    webhook_backoff: float = 1.0
    transform: bool = True
    picture_workers: int = 2
    data_dir: Path | None = None
    public_url: str | None = None
    variants: Mapping[str, str] = field(default_factory=dict)
