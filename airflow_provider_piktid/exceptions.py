# SPDX-License-Identifier: Apache-2.0
"""
The errors of this package, as a tree.

::

    PiktidError
    ├── PiktidConfigError            the connection or a setting is invalid
    ├── PiktidConnectionError        no answer: unreachable, TLS, timeout, connection lost
    ├── PiktidResponseError          an answer that cannot be parsed
    ├── PiktidAPIError               a refusal by the API
    │   ├── PiktidAuthError          401, 403
    │   ├── PiktidCreditsError       402
    │   ├── PiktidInvalidRequestError  400, 422 and other 4xx: the request is invalid
    │   ├── PiktidNotFoundError      404, 410
    │   ├── PiktidConflictError      409
    │   ├── PiktidRateLimitError     429: too many requests in the window
    │   │   └── PiktidActiveJobsError  429: the limit of active jobs is reached
    │   ├── PiktidLinkError          a presigned or result link was refused or has expired
    │   ├── PiktidQuotaError         429 that waiting does not resolve ("Maximum identities reached.")
    │   └── PiktidServerError        5xx
    ├── PiktidSubmissionError        a paid request that may have arrived
    ├── PiktidJobError               a job that ended without the requested result
    │   ├── PiktidJobFailedError
    │   ├── PiktidJobAbortedError
    │   └── PiktidPartialResultError
    ├── PiktidJobTimeout             the deadline passed; the job still runs and is billed
    ├── PiktidEventError             the payload of a trigger event is unexpected
    ├── PiktidRecordError            the record of submitted jobs cannot be read or written
    ├── PiktidBudgetError            more images or credits than the DAG allows
    ├── PiktidImageError             a file that is not an image in a supported format
    └── PiktidDownloadError          results could not be downloaded or written completely

None derives from ``AirflowException``. ``permanent`` is True if a retry cannot help: operators turn permanent
errors into ``AirflowFailException`` so that no retries are wasted. Invalid arguments raise ``ValueError``;
``PiktidImageError`` and ``PiktidConfigError`` are both.
"""

from __future__ import annotations

from typing import Any

__all__ = [
    "TRANSIENT_ERRORS",
    "PiktidAPIError",
    "PiktidActiveJobsError",
    "PiktidAuthError",
    "PiktidBudgetError",
    "PiktidConfigError",
    "PiktidConflictError",
    "PiktidConnectionError",
    "PiktidCreditsError",
    "PiktidDownloadError",
    "PiktidError",
    "PiktidEventError",
    "PiktidImageError",
    "PiktidInvalidRequestError",
    "PiktidJobAbortedError",
    "PiktidJobError",
    "PiktidJobFailedError",
    "PiktidJobTimeout",
    "PiktidLinkError",
    "PiktidNotFoundError",
    "PiktidPartialResultError",
    "PiktidQuotaError",
    "PiktidRateLimitError",
    "PiktidRecordError",
    "PiktidResponseError",
    "PiktidServerError",
    "PiktidSubmissionError",
]


class PiktidError(Exception):
    """Base of all errors of this package."""

    #: Whether the same call cannot succeed until somebody changes something.
    permanent: bool = False


class PiktidConfigError(PiktidError, ValueError):
    """The connection or a setting is invalid."""

    permanent = True


class PiktidConnectionError(PiktidError):
    """
    The server did not answer.

    :param sent: Whether the request may have reached the server. False only if it certainly did not
        (name not resolved, connection refused): then repeating it cannot pay twice. Default: True.
    :param is_outage: Whether the server has answered this client before, and cannot be connected to now.
        Default: False.
    """

    def __init__(self, message: str, *, sent: bool = True, is_outage: bool = False) -> None:
        super().__init__(message)
        self.sent = sent
        self.is_outage = is_outage


class PiktidResponseError(PiktidError):
    """
    The answer cannot be parsed: it is not JSON, or JSON of another shape.

    :param status: HTTP status of the answer. Default: not known.
    """

    def __init__(self, message: str, *, status: int | None = None) -> None:
        super().__init__(message)
        self.status = status


class PiktidAPIError(PiktidError):
    """
    The API refused the request.

    :param status: HTTP status.
    :param method: HTTP method of the request.
    :param path: Path of the request, without query.
    :param body: The decoded JSON object of the answer, None if it has none.
    :param retry_after: Seconds that the server asked to wait, None if it did not say.
    """

    def __init__(
        self,
        message: str,
        *,
        status: int,
        method: str = "",
        path: str = "",
        body: dict[str, Any] | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.method = method
        self.path = path
        self.body = body
        self.retry_after = retry_after


class PiktidAuthError(PiktidAPIError):
    """401 or 403: the token or login is wrong, has expired or is not allowed to do this."""

    permanent = True


class PiktidCreditsError(PiktidAPIError):
    """402: out of credits. ``required_credits`` is None if the API did not say."""

    permanent = True

    @property
    def required_credits(self) -> float | None:
        value = (self.body or {}).get("required_credits")
        return float(value) if isinstance(value, (int, float)) else None


class PiktidInvalidRequestError(PiktidAPIError):
    """400, 422 or another 4xx: the request is invalid."""

    permanent = True


class PiktidNotFoundError(PiktidAPIError):
    """404 or 410: the object does not exist, no longer exists, or (a new job) is not visible yet."""


class PiktidConflictError(PiktidAPIError):
    """409: the name is taken."""

    permanent = True


class PiktidRateLimitError(PiktidAPIError):
    """429: too many requests in the window. Waiting helps."""


class PiktidActiveJobsError(PiktidRateLimitError):
    """429: the account's limit of active jobs is reached. Waiting for a job to end helps."""


class PiktidQuotaError(PiktidAPIError):
    """429 that waiting does not resolve, such as "Maximum identities reached."."""

    permanent = True


class PiktidLinkError(PiktidAPIError):
    """A presigned upload link or a result link was refused: expired, used or wrong. A new link helps."""


class PiktidServerError(PiktidAPIError):
    """5xx or 408: the server failed."""


class PiktidSubmissionError(PiktidError):
    """
    A paid request was sent, and nobody knows whether it arrived; sending it again could pay twice.

    Raised instead of the connection, server or response error that caused it (``__cause__``).
    """


class PiktidJobError(PiktidError):
    """
    A job ended without the requested result.

    :param job_ids: The affected jobs.
    """

    def __init__(self, message: str, *, job_ids: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.job_ids = job_ids


class PiktidJobFailedError(PiktidJobError):
    """The job failed."""


class PiktidJobAbortedError(PiktidJobError):
    """Somebody aborted the job."""

    permanent = True


class PiktidPartialResultError(PiktidJobError):
    """The job completed, but some images failed, and the task is set to fail in this case."""

    permanent = True


class PiktidJobTimeout(PiktidError):
    """
    The deadline passed before the job ended. It still runs and is billed; a retry re-attaches to it.

    :param job_ids: The jobs that had not ended.
    """

    def __init__(self, message: str, *, job_ids: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.job_ids = job_ids


class PiktidEventError(PiktidError):
    """The payload of a trigger event is missing, malformed or unknown. It never counts as success."""


class PiktidRecordError(PiktidError):
    """The record of submitted jobs could not be read or written. It never counts as "no record"."""


class PiktidBudgetError(PiktidError):
    """The work exceeds ``max_images`` or ``max_credits``. Nothing was sent."""

    permanent = True


class PiktidImageError(PiktidError, ValueError):
    """A file is not an image that the API accepts: empty, another format, or truncated."""

    permanent = True


class PiktidDownloadError(PiktidError):
    """
    Results could not be downloaded or written completely. Complete files are kept.

    :param failed: One line for each missing output, with the reason.
    """

    def __init__(self, message: str, *, failed: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.failed = failed


#: Errors that say nothing about a job: code that polls logs them and asks again.
TRANSIENT_ERRORS = (PiktidConnectionError, PiktidServerError, PiktidRateLimitError, PiktidResponseError)
