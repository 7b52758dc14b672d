# SPDX-License-Identifier: Apache-2.0
"""The retry policy, as tables."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from airflow_provider_piktid.client._retry import NO_RETRY, RetrySettings, decide, parse_retry_after
from airflow_provider_piktid.exceptions import (
    PiktidActiveJobsError,
    PiktidAuthError,
    PiktidConnectionError,
    PiktidError,
    PiktidQuotaError,
    PiktidRateLimitError,
    PiktidResponseError,
    PiktidServerError,
)

NOW = datetime(2026, 1, 1, 12, 0, 0, tzinfo=UTC)
RATE = PiktidRateLimitError("x", status=429)
SERVER = PiktidServerError("x", status=503)
LOST = PiktidConnectionError("x")
UNSENT = PiktidConnectionError("x", sent=False)
OUTAGE = PiktidConnectionError("x", sent=False, is_outage=True)


def first_wait(error: PiktidError, *, repeatable: bool) -> float | None:
    return decide(error, attempt=1, elapsed=0, repeatable=repeatable, settings=RetrySettings())


@pytest.mark.parametrize(
    ("error", "repeatable", "paid"),
    [
        pytest.param(RATE, True, True, id="429"),
        pytest.param(PiktidActiveJobsError("x", status=429), True, True, id="too many jobs"),
        pytest.param(UNSENT, True, True, id="certainly not sent"),
        pytest.param(LOST, True, False, id="reply lost"),
        pytest.param(SERVER, True, False, id="5xx"),
        pytest.param(PiktidQuotaError("x", status=429), False, False, id="quota"),
        pytest.param(PiktidAuthError("x", status=401), False, False, id="401"),
        pytest.param(PiktidResponseError("x"), False, False, id="not understood"),
    ],
)
def test_decide_repeats_only_what_helps_and_cannot_pay_twice(
    error: PiktidError, repeatable: bool, paid: bool
) -> None:
    """Each error is retried or not, separately for repeatable and for paid requests."""
    assert (first_wait(error, repeatable=True) is not None) is repeatable
    assert (first_wait(error, repeatable=False) is not None) is paid


def waits(error: PiktidError, settings: RetrySettings, chance: float = 0.5) -> list[float]:
    found: list[float] = []
    while len(found) < 100:
        wait = decide(
            error,
            attempt=len(found) + 1,
            elapsed=sum(found),
            repeatable=True,
            settings=settings,
            chance=chance,
        )
        if wait is None:
            break
        found.append(wait)
    return found


def test_decide_rate_series_outlasts_the_window_of_a_minute() -> None:
    """The official series, continued to 60 s twice."""
    assert waits(RATE, RetrySettings()) == [1, 2, 4, 8, 16, 32, 60, 60]


def test_decide_outage_is_waited_out() -> None:
    """A server that has answered before is tried for a minute and a half, often enough to go on soon."""
    assert waits(OUTAGE, RetrySettings()) == [1, 2, 4, *[8] * 10]


@pytest.mark.parametrize("chance", [0.0, 1.0])
def test_decide_outage_of_half_a_minute_is_survived_with_any_jitter(chance: float) -> None:
    """The last attempt is later than 30 s after the first."""
    assert sum(waits(OUTAGE, RetrySettings(), chance)) > 60


def test_decide_outage_of_a_paid_request_is_reported_soon() -> None:
    """A paid request is not held back for long: it is tried as often as any request that was not sent."""
    settings = RetrySettings()
    assert decide(OUTAGE, attempt=5, elapsed=15, repeatable=False, settings=settings) is None


def test_decide_fault_series_is_short() -> None:
    """An unreachable host is reported after some 15 s."""
    assert waits(SERVER, RetrySettings()) == [1, 2, 4, 8]


@pytest.mark.parametrize(("chance", "wait"), [(0.0, 0.8), (0.5, 1.0), (1.0, 1.2)])
def test_decide_jitter_stays_in_its_share(chance: float, wait: float) -> None:
    """A wait varies by 20 % to both sides."""
    assert waits(RATE, RetrySettings(), chance)[0] == pytest.approx(wait)


@pytest.mark.parametrize(
    ("retry_after", "chance", "wait"),
    [
        pytest.param(7.0, 0.0, 7.0, id="as asked"),
        pytest.param(7.0, 1.0, 8.4, id="never earlier, a little later"),
        pytest.param(0.0, 0.0, 0.0, id="at once"),
        pytest.param(86400.0, 0.0, 60.0, id="capped"),
        pytest.param(float("inf"), 0.0, 60.0, id="without end"),
    ],
)
def test_decide_honours_retry_after_within_reason(retry_after: float, chance: float, wait: float) -> None:
    """``Retry-After`` is respected up to the maximum wait."""
    error = PiktidRateLimitError("x", status=429, retry_after=retry_after)
    assert waits(error, RetrySettings(total=1000), chance)[0] == pytest.approx(wait)


def test_decide_total_bounds_all_waiting() -> None:
    """No wait begins that would exceed the total."""
    assert waits(RATE, RetrySettings(total=10)) == [1, 2, 4]


def test_decide_huge_attempt_number_does_not_overflow() -> None:
    """The exponent of the series is bounded."""
    settings = RetrySettings(max_attempts=10**6)
    assert decide(RATE, attempt=5000, elapsed=0, repeatable=True, settings=settings) == 60


def test_decide_no_retry_gives_up_at_once() -> None:
    """``NO_RETRY`` does not retry."""
    assert waits(RATE, NO_RETRY) == waits(UNSENT, NO_RETRY) == waits(OUTAGE, NO_RETRY) == []


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        pytest.param("30", 30.0, id="seconds"),
        pytest.param(" 1.5 ", 1.5, id="fraction"),
        pytest.param("Thu, 01 Jan 2026 12:00:45 GMT", 45.0, id="date"),
        pytest.param("Thu, 01 Jan 2026 11:00:00 GMT", 0.0, id="date that has passed"),
        pytest.param("Thu, 01 Jan 2026 12:00:45", 45.0, id="date without zone"),
        pytest.param(None, None, id="missing"),
        pytest.param("", None, id="empty"),
        pytest.param("-5", None, id="negative"),
        pytest.param("soon", None, id="word"),
        pytest.param("nan", None, id="not a number"),
        pytest.param("٣", None, id="digit of another script"),
        pytest.param("Thu, 99 Jan 2026 99:00:00 GMT", None, id="impossible date"),
    ],
)
def test_parse_retry_after(value: str | None, seconds: float | None) -> None:
    """Seconds or a date; anything else counts as absent."""
    assert parse_retry_after(value, NOW) == seconds


def test_parse_retry_after_endless_digits_stay_a_number() -> None:
    """A header of thousands of digits does not raise."""
    found = parse_retry_after("9" * 5000, NOW)
    assert found is not None
    assert found > 60
