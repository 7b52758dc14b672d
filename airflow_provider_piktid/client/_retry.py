# SPDX-License-Identifier: Apache-2.0
"""Decide whether to retry a request, and after how long: a function without clock and sleep."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from airflow_provider_piktid.exceptions import (
    PiktidConnectionError,
    PiktidError,
    PiktidRateLimitError,
    PiktidServerError,
)


@dataclass(frozen=True, kw_only=True)
class RetrySettings:
    """
    When a client retries.

    The waits of the official clients (1, 2, 4, 8, 16 s) are shorter in all than the window of 60 s that they wait
    for, so the series continues here: 32, 60, 60.

    :param max_attempts: Requests in all after a 429; 1 disables all retries. Default: 9.
    :param fault_attempts: Requests in all after a broken connection or 5xx. Default: 5, about 15 s.
    :param base: Seconds before the second request. Default: 1.
    :param factor: Factor between one wait and the next. Default: 2.
    :param cap: Longest single wait in seconds, without jitter; also limits ``Retry-After``. Default: 60.
    :param jitter: Share by which a wait varies; after ``Retry-After`` only upwards. Default: 0.2, as in the
        official clients.
    :param total: Seconds of waiting in all. Default: 300.
    :param outage: Seconds of waiting in all while a server that has answered before cannot be connected to, if the
        request may be repeated: a network that is away for half a minute should not fail a transfer. Default: 90.
    :param outage_cap: Longest single wait then, without jitter. Default: 8.
    """

    max_attempts: int = 9
    fault_attempts: int = 5
    base: float = 1.0
    factor: float = 2.0
    cap: float = 60.0
    jitter: float = 0.2
    total: float = 300.0
    outage: float = 90.0
    outage_cap: float = 8.0


NO_RETRY = RetrySettings(max_attempts=1, fault_attempts=1)


class Retries:
    """The attempts of one request. Those of an outage are counted apart: neither uses up the other's."""

    def __init__(self, settings: RetrySettings, *, repeatable: bool) -> None:
        self._settings = settings
        self._repeatable = repeatable
        self._failed = {False: 0, True: 0}
        self._waited = 0.0

    @property
    def attempts(self) -> int:
        return sum(self._failed.values())

    def pause_after(self, error: PiktidError, chance: float) -> float | None:
        """Count a failed attempt; return the seconds to wait before the next one, or None to give up."""
        self._failed[is_outage(error)] += 1
        pause = decide(
            error,
            attempt=self._failed[is_outage(error)],
            elapsed=self._waited,
            repeatable=self._repeatable,
            settings=self._settings,
            chance=chance,
        )
        self._waited += pause or 0.0
        return pause


def decide(
    error: PiktidError,
    *,
    attempt: int,
    elapsed: float,
    repeatable: bool,
    settings: RetrySettings,
    chance: float = 0.5,
) -> float | None:
    """
    Return the seconds to wait before the next attempt, or None to give up.

    :param attempt: Attempts made so far, from 1; those of an outage are counted apart.
    :param elapsed: Seconds waited so far between attempts.
    :param repeatable: Whether sending the request twice is safe. If not, it is retried only after a 429,
        or if it certainly did not reach the server.
    :param chance: A random number from 0 to 1 for the jitter. Default: 0.5, no jitter.
    """
    attempts = _attempts(error, repeatable, settings)
    in_outage = repeatable and is_outage(error) and attempts > 1
    if attempt >= attempts and not in_outage:
        return None
    cap, total = (settings.outage_cap, settings.outage) if in_outage else (settings.cap, settings.total)
    retry_after = getattr(error, "retry_after", None)
    if retry_after is not None:
        wait = min(max(float(retry_after), 0.0), cap) * (1 + settings.jitter * chance)
    else:
        # The exponent is bounded: 2.0 ** 1024 does not fit a float.
        wait = min(settings.base * settings.factor ** min(attempt - 1, 64), cap)
        wait *= 1 + settings.jitter * (2 * chance - 1)
    return wait if elapsed + wait <= total else None


def is_outage(error: PiktidError) -> bool:
    """Return whether a server that has answered before cannot be connected to."""
    return isinstance(error, PiktidConnectionError) and error.is_outage


def _attempts(error: PiktidError, repeatable: bool, settings: RetrySettings) -> int:
    """Return how many requests this error allows in all."""
    if isinstance(error, PiktidRateLimitError):
        return settings.max_attempts
    if isinstance(error, PiktidConnectionError) and (repeatable or not error.sent):
        return min(settings.fault_attempts, settings.max_attempts)
    if isinstance(error, PiktidServerError) and repeatable:
        return min(settings.fault_attempts, settings.max_attempts)
    return 1


def parse_retry_after(value: str | None, now: datetime) -> float | None:
    """
    Read a ``Retry-After`` header.

    :param value: Seconds or an HTTP date.
    :param now: The time to count from, with time zone.
    :return: Seconds from now, 0 for a past date; None if the header is missing or invalid.
    """
    text = (value or "").strip()
    if text.isascii() and text.replace(".", "", 1).isdigit():
        return float(text[:12])
    try:
        date = parsedate_to_datetime(text)
    except (TypeError, ValueError, IndexError, OverflowError):
        return None
    if date.tzinfo is None:
        date = date.replace(tzinfo=UTC)
    return max((date - now).total_seconds(), 0.0)
