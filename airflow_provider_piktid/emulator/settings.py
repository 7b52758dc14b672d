# SPDX-License-Identifier: Apache-2.0
"""What can be set when an emulator starts."""

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
    Settings of one emulator. Times are seconds.

    :param token: The API token that is accepted.
    :param login: E-mail of the account.
    :param password: Its password.
    :param latency: Added to each API request.
    :param jobs_per_minute: Paid submissions per endpoint in ``rate_window``; 0 for no limit.
    :param rate_window: Length of the window of the rate limit.
    :param active_jobs: Jobs pending or processing at once; 0 for no limit.
    :param job_seconds: How long a job takes; its outputs come spread over this time.
    :param post_process_seconds: How long post-processing takes after that.
    :param preprocessing_seconds: How long an uploaded identity is prepared.
    :param upload_link_seconds: Life of a presigned upload link. Default 900, assumed: the API names none.
    :param result_link_seconds: Life of a result link. Default one hour, assumed.
    :param zip_link_seconds: Life of a ZIP link. Default one hour, from the seed's example.
    :param notification_seconds: Life of a notification.
    :param keepalive_seconds: Silence after which a stream sends a keepalive comment.
    :param credits: Balance at the start.
    :param credits_per_output: Price of one output. Default 1, assumed: the API's price is unstated.
    :param generate_seconds: How long a generation of v1 takes once the picture's masks are there.
    :param mask_seconds: How long masks take: the first request of a picture, and those that do not wait for it.
        Default 15, the wait that the documents recommend.
    :param target_seconds: Life of a picture uploaded to v1.
    :param poll_seconds: Shortest time between two looks at v1's notifications, if ``v1_poll_limit`` is on.
    :param faces: Pretend so many faces in each picture uploaded to v1. Default: look; one without image work.
    :param credits_per_generation: Price of one generation of v1. Default 1, assumed.
    :param max_identities: Own identities an account may hold.
    :param max_tokens: Issued API tokens an account may hold.
    :param webhook_tries: Deliveries tried in all for one notification.
    :param webhook_backoff: Wait before the second try; doubled before each next.
    :param transform: False returns the input pictures as outputs, without any image work.
    :param picture_workers: Threads for image work.
    :param data_dir: Folder for the bytes; default a temporary one, removed at the end.
    :param public_url: Base of the links in answers; default the address the request came to.
    :param variants: Values of switches, see :mod:`.variants`.
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
    max_identities: int = 50
    max_tokens: int = 20
    webhook_tries: int = 5
    webhook_backoff: float = 1.0
    transform: bool = True
    picture_workers: int = 2
    data_dir: Path | None = None
    public_url: str | None = None
    variants: Mapping[str, str] = field(default_factory=dict)
