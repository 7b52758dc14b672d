# SPDX-License-Identifier: Apache-2.0
"""
What can go wrong, as a tree.

::

    PiktidError
    ├── PiktidConfigError            the connection or a setting cannot be used
    ├── PiktidConnectionError        no answer: unreachable, TLS, time-out, connection cut
    ├── PiktidResponseError          an answer that cannot be understood
    ├── PiktidAPIError               an answer that says no
    │   ├── PiktidAuthError          401, 403
    │   ├── PiktidCreditsError       402
    │   ├── PiktidInvalidRequestError  400, 422 and other 4xx that repeating does not mend
    │   ├── PiktidNotFoundError      404, 410
    │   ├── PiktidConflictError      409
    │   ├── PiktidRateLimitError     429: too many requests in the window
    │   │   └── PiktidActiveJobsError  429: too many jobs at once
    │   ├── PiktidLinkError          a presigned or result link that is refused or has expired
    │   ├── PiktidQuotaError         429 that waiting never mends ("Maximum identities reached.")
    │   └── PiktidServerError        5xx
    ├── PiktidSubmissionError        a paid request whose fate is unknown
    ├── PiktidJobError               a job that did not give what was asked
    │   ├── PiktidJobFailedError
    │   ├── PiktidJobAbortedError
    │   └── PiktidPartialResultError
    ├── PiktidJobTimeout             the deadline passed; the job still runs and bills
    ├── PiktidEventError             a trigger's event that cannot be trusted
    ├── PiktidRecordError            the record of submitted jobs cannot be read or written
    ├── PiktidBudgetError            more images or credits than the DAG author allows
    ├── PiktidImageError             a picture that is none, or of a wrong format
    └── PiktidDownloadError          results that could not be fetched or written whole

None derives from ``AirflowException``. ``permanent`` says whether another try can help: operators turn
permanent errors into ``AirflowFailException`` so that retries are not burnt. Bad arguments are
``ValueError``; ``PiktidImageError`` and ``PiktidConfigError`` are both.
"""

from __future__ import annotations

from typing import Any

__all__ = [
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

    #: Whether the same call can never succeed until somebody changes something.
    permanent: bool = False


class PiktidConfigError(PiktidError, ValueError):
    """The connection or a setting cannot be used as it is."""

    permanent = True


class PiktidConnectionError(PiktidError):
    """
    No answer came.

    :param sent: Whether the request may have reached the server. False only if it certainly did not
        (name not resolved, connection refused): then repeating it can never pay twice.
    """

    def __init__(self, message: str, *, sent: bool = True) -> None:
        super().__init__(message)
        self.sent = sent


class PiktidResponseError(PiktidError):
    """
    An answer that cannot be understood: not JSON, or JSON of another shape.

    :param status: HTTP status of the answer.
    """

    def __init__(self, message: str, *, status: int | None = None) -> None:
        super().__init__(message)
        self.status = status


class PiktidAPIError(PiktidError):
    """
    The API refused.

    :param status: HTTP status.
    :param method: HTTP method of the request.
    :param path: Path of the request, without query.
    :param body: The decoded JSON object of the answer, else None.
    :param retry_after: Seconds the server asked to wait, else None.
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
    """401 or 403: the token or login is wrong, expired or not allowed to do this."""

    permanent = True


class PiktidCreditsError(PiktidAPIError):
    """402: the account has not enough credits. ``required_credits`` is None if the API did not say."""

    permanent = True

    @property
    def required_credits(self) -> float | None:
        value = (self.body or {}).get("required_credits")
        return float(value) if isinstance(value, (int, float)) else None


class PiktidInvalidRequestError(PiktidAPIError):
    """400, 422 or another 4xx: the request itself is wrong."""

    permanent = True


class PiktidNotFoundError(PiktidAPIError):
    """404 or 410: no such thing, or not any more, or (a fresh job) not yet."""


class PiktidConflictError(PiktidAPIError):
    """409: the name is taken."""

    permanent = True


class PiktidRateLimitError(PiktidAPIError):
    """429: too many requests in the window. Waiting helps."""


class PiktidActiveJobsError(PiktidRateLimitError):
    """429: as many jobs run as the account allows. Waiting for one of them to end helps."""


class PiktidQuotaError(PiktidAPIError):
    """429 that waiting never mends, such as "Maximum identities reached."."""

    permanent = True


class PiktidLinkError(PiktidAPIError):
    """A presigned upload link or a result link was refused: expired, used up or wrong. A new one helps."""


class PiktidServerError(PiktidAPIError):
    """5xx."""


class PiktidSubmissionError(PiktidError):
    """
    A paid request was sent and its fate is unknown; sending it again could pay twice.

    Raised instead of the connection, server or response error that caused it (``__cause__``).
    """


class PiktidJobError(PiktidError):
    """
    A job ended without giving what was asked.

    :param job_ids: The jobs concerned.
    """

    def __init__(self, message: str, *, job_ids: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.job_ids = job_ids


class PiktidJobFailedError(PiktidJobError):
    """The job ended as failed."""


class PiktidJobAbortedError(PiktidJobError):
    """The job was aborted by somebody."""

    permanent = True


class PiktidPartialResultError(PiktidJobError):
    """The job completed, but not every image did, and the task asked to fail then."""

    permanent = True


class PiktidJobTimeout(PiktidError):
    """
    The deadline passed first. The job still runs and bills; a retry attaches to it again.

    :param job_ids: The jobs that had not ended.
    """

    def __init__(self, message: str, *, job_ids: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.job_ids = job_ids


class PiktidEventError(PiktidError):
    """A trigger's event is missing, malformed or unknown: it is never taken for success."""


class PiktidRecordError(PiktidError):
    """The record of submitted jobs could not be read or written: never taken for "no record"."""


class PiktidBudgetError(PiktidError):
    """The work is larger than ``max_images`` or ``max_credits`` allow. Nothing was sent."""

    permanent = True


class PiktidImageError(PiktidError, ValueError):
    """A file is not a picture that the API takes: empty, another format, cut off."""

    permanent = True


class PiktidDownloadError(PiktidError):
    """
    Results could not be fetched or written whole. What arrived whole is kept.

    :param failed: One line per output that is missing, with its reason.
    """

    def __init__(self, message: str, *, failed: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.failed = failed


#: Errors that say nothing about the work that is waited for: the wait continues.
TRANSIENT_ERRORS = (PiktidConnectionError, PiktidServerError, PiktidRateLimitError, PiktidResponseError)
