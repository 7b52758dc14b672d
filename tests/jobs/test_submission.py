# SPDX-License-Identifier: Apache-2.0
"""A batch submits each job once, within the account limits, in spite of lost replies and crashes."""

from __future__ import annotations

import pytest

from airflow_provider_piktid.common.protocols import SlotWait
from airflow_provider_piktid.exceptions import (
    PiktidActiveJobsError,
    PiktidConnectionError,
    PiktidCreditsError,
    PiktidError,
    PiktidRateLimitError,
    PiktidRecordError,
    PiktidSubmissionError,
)
from airflow_provider_piktid.jobs.queue import AccountLimits
from airflow_provider_piktid.jobs.submission import (
    CLOCK_SLACK_SECONDS,
    FULL_ACCOUNT_SECONDS,
    PROBE_SECONDS,
)
from tests.support.submitting import LOST, START, Service, World


def rate(retry_after: float | None = None) -> PiktidRateLimitError:
    return PiktidRateLimitError("too many", status=429, retry_after=retry_after)


def full(retry_after: float | None = None) -> PiktidActiveJobsError:
    return PiktidActiveJobsError("too many jobs", status=429, retry_after=retry_after)


def waiting(wait: SlotWait | None) -> SlotWait:
    assert wait is not None
    return wait


def test_batch_submits_all_chunks_in_order() -> None:
    """Within the limits all chunks are submitted in order."""
    world = World(images=5, per_job=2)

    assert world.batch().advance() is None
    assert world.service.bought == [("file-0", "file-1"), ("file-2", "file-3"), ("file-4",)]
    assert world.record.job_ids == ["job-1", "job-2", "job-3"]


def test_batch_saves_the_intent_before_and_the_id_after_each_request() -> None:
    """The record is saved with the intent before each request and with the job id after it."""
    world = World(images=2)

    world.batch().advance()

    assert world.service.log == [
        ("save", "intent", "planned"),
        ("submit", ("file-0",)),
        ("save", "submitted", "planned"),
        ("save", "submitted", "intent"),
        ("submit", ("file-1",)),
        ("save", "submitted", "submitted"),
    ]


def test_batch_does_not_submit_if_the_intent_cannot_be_saved() -> None:
    """If the intent cannot be saved, no request is sent."""
    world = World()
    world.refuse_saves = lambda count: True

    with pytest.raises(PiktidRecordError):
        world.batch().advance()
    assert world.service.bought == []


def test_batch_whose_id_cannot_be_saved_finds_the_job_next_time() -> None:
    """If the job id cannot be saved, the next try finds the job in the list and does not submit again."""
    world = World()
    world.refuse_saves = lambda count: count == 2
    with pytest.raises(PiktidRecordError):
        world.batch().advance()

    world.crash()
    world.service.listed[("file-0",)] = "job-1"

    assert world.batch().advance() is None
    assert world.record.job_ids == ["job-1"]
    assert len(world.service.bought) == 1


def test_batch_advanced_again_does_nothing() -> None:
    """A second call does not submit again."""
    world = World(images=3)
    world.batch().advance()

    assert world.batch().advance() is None
    assert len(world.service.bought) == 3


@pytest.mark.parametrize(
    ("refusal", "earliest", "latest", "until_job_ends"),
    [
        pytest.param(rate(17.0), 17, 17, False, id="rate with Retry-After"),
        pytest.param(rate(0.0), 0, 0, False, id="rate with Retry-After 0"),
        pytest.param(rate(), 12 * 0.8, 12 * 1.2, False, id="rate without Retry-After"),
        pytest.param(full(40.0), 40, 40, True, id="active with Retry-After"),
        pytest.param(full(), PROBE_SECONDS * 0.8, PROBE_SECONDS * 1.2, True, id="active without Retry-After"),
    ],
)
def test_http_429_defers_the_submission(
    refusal: PiktidError, earliest: float, latest: float, until_job_ends: bool
) -> None:
    """After HTTP 429 the submission stays planned and waits as ``Retry-After`` or the limits require."""
    world = World(service=Service(answers=[refusal]))

    wait = waiting(world.batch().advance())

    assert START + earliest <= wait.not_before <= START + latest
    assert wait.until_job_ends is until_job_ends
    assert world.states == ["planned"]
    assert world.saved is not None
    assert world.saved.submissions[0].state == "planned"
    assert world.batch().advance() is None
    assert len(world.service.bought) == 1


@pytest.mark.parametrize(
    "error",
    [PiktidCreditsError("no credits", status=402), PiktidConnectionError("refused", sent=False)],
    ids=["no credits", "never sent"],
)
def test_rejected_request_leaves_the_submission_planned(error: PiktidError) -> None:
    """An error that proves that nothing was bought is raised, and the submission stays planned."""
    world = World(images=2, service=Service(answers=["job-1", error]))

    with pytest.raises(type(error)):
        world.batch().advance()

    assert world.states == ["submitted", "planned"]
    world.crash()
    assert world.states == ["submitted", "planned"]


def test_unexpected_error_leaves_the_intent() -> None:
    """After an unexpected error the submission stays an intent."""
    world = World(service=Service(answers=[RuntimeError("bug")]))

    with pytest.raises(RuntimeError):
        world.batch().advance()

    world.crash()
    assert world.states == ["intent"]


def test_lost_reply_with_a_listed_job_uses_that_job() -> None:
    """After a lost reply a listed job is used, and the request is not sent again."""
    world = World(service=Service(answers=[LOST], listed={("file-0",): "job-found"}))

    assert world.batch().advance() is None
    assert world.record.job_ids == ["job-found"]
    assert len(world.service.calls("submit")) == 1


def test_lookup_allows_for_clock_skew_and_excludes_known_jobs() -> None:
    """The lookup after a lost reply allows for clock skew and excludes known jobs."""
    world = World(images=2, service=Service(answers=["job-1", LOST]))

    world.batch().advance()

    assert world.service.calls("find") == [("find", START - CLOCK_SLACK_SECONDS, frozenset({"job-1"}))]


def test_lost_reply_without_a_listed_job_waits_for_the_grace_period() -> None:
    """After a lost reply without a listed job, the batch waits for ``lost_reply_grace`` seconds."""
    world = World(service=Service(answers=[LOST]))

    wait = waiting(world.batch(lost_reply_grace=30).advance())

    assert wait.not_before == START + 30
    assert not wait.until_job_ends
    assert world.states == ["intent"]


def test_job_is_found_after_the_grace_period() -> None:
    """A job that is listed after the grace period is used."""
    world = World(service=Service(answers=[LOST]))
    world.batch(lost_reply_grace=30).advance()
    world.now += 30
    world.service.listed[("file-0",)] = "job-late"

    assert world.batch(lost_reply_grace=30).advance() is None
    assert world.record.job_ids == ["job-late"]


def test_lost_reply_that_stays_lost_fails_by_default() -> None:
    """If no job is listed after the grace period, the batch fails, also on the next try."""
    world = World(service=Service(answers=[LOST]))
    world.batch(lost_reply_grace=30).advance()
    world.now += 30

    for _ in range(2):
        with pytest.raises(PiktidSubmissionError, match=r"^piktid_test: .*on_lost_reply"):
            world.batch(lost_reply_grace=30).advance()

    assert len(world.service.calls("submit")) == 1


def test_lost_reply_is_resubmitted_once() -> None:
    """With ``resubmit`` a request is sent a second time and not a third time."""
    world = World(service=Service(answers=[LOST, LOST]))
    world.batch(lost_reply_grace=30, on_lost_reply="resubmit").advance()
    world.now += 30
    assert world.batch(lost_reply_grace=30, on_lost_reply="resubmit").advance() is not None
    world.now += 30

    with pytest.raises(PiktidSubmissionError):
        world.batch(lost_reply_grace=30, on_lost_reply="resubmit").advance()

    assert len(world.service.calls("submit")) == 2


def test_successful_resubmission_is_recorded() -> None:
    """A successful resubmission is recorded with its job id and marked as ``resubmitted``."""
    world = World(service=Service(answers=[LOST]))

    assert world.batch(lost_reply_grace=0, on_lost_reply="resubmit").advance() is None
    assert world.record.job_ids == ["job-1"]
    assert world.record.submissions[0].resubmitted


def test_failed_lookup_is_raised_and_keeps_the_intent() -> None:
    """If the job list cannot be read, the error is raised and the submission stays an intent."""
    world = World(service=Service(answers=[LOST]))

    def away(images: list[str], since: float, known: set[str]) -> str | None:
        raise PiktidConnectionError("away")

    world.service.find = away  # type: ignore[method-assign]

    with pytest.raises(PiktidConnectionError):
        world.batch(lost_reply_grace=0, on_lost_reply="resubmit").advance()
    assert world.states == ["intent"]


@pytest.mark.parametrize("listed", [True, False], ids=["bought", "not bought"])
def test_intent_of_a_crashed_try_is_treated_as_a_lost_reply(listed: bool) -> None:
    """An intent that a crashed try left is treated as a lost reply."""
    world = World()
    world.record.submissions[0].state = "intent"
    world.record.submissions[0].intent_at = START - 100
    if listed:
        world.service.listed[("file-0",)] = "job-paid"

    if listed:
        assert world.batch(lost_reply_grace=30).advance() is None
        assert world.record.job_ids == ["job-paid"]
    else:
        with pytest.raises(PiktidSubmissionError):
            world.batch(lost_reply_grace=30).advance()
    assert world.service.calls("submit") == []


def test_intent_without_a_time_counts_from_the_record() -> None:
    """The grace period of an intent without a time starts with the record."""
    world = World()
    world.record.submissions[0].state = "intent"

    assert waiting(world.batch(lost_reply_grace=30).advance()).not_before == START + 30


def test_lost_reply_blocks_later_submissions() -> None:
    """Nothing is submitted while an earlier submission is an intent."""
    world = World(images=3, service=Service(answers=[LOST]))

    world.batch(lost_reply_grace=30).advance()

    assert world.states == ["intent", "planned", "planned"]


def test_rate_limit_is_respected() -> None:
    """After five submissions in a minute the sixth waits until the first is a minute old."""
    world = World(images=7)

    wait = waiting(world.batch(limits=AccountLimits(active_jobs=100)).advance())

    assert (len(world.service.bought), wait.not_before, wait.until_job_ends) == (5, START + 60, False)
    world.now = wait.not_before
    assert world.batch(limits=AccountLimits(active_jobs=100)).advance() is None


def test_rate_limit_is_a_sliding_window() -> None:
    """Each submission counts for the rate for one minute."""
    world = World(images=4)
    limits = AccountLimits(jobs_per_minute=2, active_jobs=100)
    world.record.submissions[0].state, world.record.submissions[0].job_id = "submitted", "job-a"
    world.record.submissions[0].submitted_at = START - 50

    wait = waiting(world.batch(limits=limits).advance())

    assert (len(world.service.bought), wait.not_before) == (1, START + 10)


def test_active_jobs_are_checked_at_the_active_job_limit() -> None:
    """At the active-job limit the batch requests the status of its jobs, and ended jobs free their slots."""
    world = World(images=4)
    limits = AccountLimits(jobs_per_minute=100, active_jobs=2)

    wait = waiting(world.batch(limits=limits).advance())

    assert (len(world.service.bought), wait.not_before) == (2, START + FULL_ACCOUNT_SECONDS)
    assert wait.until_job_ends
    world.service.done = {"job-1": "completed", "job-2": "failed"}
    assert world.batch(limits=limits).advance() is None
    assert [item.ended for item in world.record.submissions] == ["completed", "failed", None, None]


def test_active_jobs_are_not_checked_below_the_limit() -> None:
    """Below the active-job limit no job status is requested."""
    world = World(images=3)

    world.batch().advance()

    assert world.service.calls("ended") == []
