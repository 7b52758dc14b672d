# SPDX-License-Identifier: Apache-2.0
"""A batch submits each job once, within the limits, whatever happens to its requests."""

from __future__ import annotations

import pytest

from airflow_provider_piktid.common.paid import SlotWait
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
    """Within the limits everything is submitted at one go."""
    world = World(images=5, per_job=2)

    assert world.batch().advance() is None
    assert world.service.bought == [("file-0", "file-1"), ("file-2", "file-3"), ("file-4",)]
    assert world.record.job_ids == ["job-1", "job-2", "job-3"]


def test_batch_saves_the_intent_before_and_the_id_after_each_request() -> None:
    """A crash at any moment leaves a trace of what may have been paid."""
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
    """No trace, no purchase."""
    world = World()
    world.refuse_saves = lambda count: True

    with pytest.raises(PiktidRecordError):
        world.batch().advance()
    assert world.service.bought == []


def test_batch_whose_id_cannot_be_saved_finds_the_job_next_time() -> None:
    """The purchase is known to the store as intent, so the next try looks instead of buying again."""
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
    """What is submitted stays submitted."""
    world = World(images=3)
    world.batch().advance()

    assert world.batch().advance() is None
    assert len(world.service.bought) == 3


@pytest.mark.parametrize(
    ("refusal", "earliest", "latest", "until_job_ends"),
    [
        pytest.param(rate(17.0), 17, 17, False, id="rate with Retry-After"),
        pytest.param(rate(0.0), 0, 0, False, id="rate with Retry-After 0"),
        pytest.param(rate(), 12 * 0.8, 12 * 1.2, False, id="rate without"),
        pytest.param(full(40.0), 40, 40, True, id="active with Retry-After"),
        pytest.param(full(), PROBE_SECONDS * 0.8, PROBE_SECONDS * 1.2, True, id="active without"),
    ],
)
def test_refused_submission_waits_and_is_planned_again(
    refusal: PiktidError, earliest: float, latest: float, until_job_ends: bool
) -> None:
    """A 429 is no failure: nothing was bought, and the wait is as long as the server says or the limits imply."""
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
def test_certain_refusal_is_raised_and_leaves_the_submission_planned(error: PiktidError) -> None:
    """What certainly was not bought can be submitted by the next try without looking."""
    world = World(images=2, service=Service(answers=["job-1", error]))

    with pytest.raises(type(error)):
        world.batch().advance()

    assert world.states == ["submitted", "planned"]
    world.crash()
    assert world.states == ["submitted", "planned"]


def test_foreign_error_leaves_the_intent() -> None:
    """Of an error that nobody foresaw it is unknown whether the job was bought."""
    world = World(service=Service(answers=[RuntimeError("bug")]))

    with pytest.raises(RuntimeError):
        world.batch().advance()

    world.crash()
    assert world.states == ["intent"]


def test_lost_reply_whose_job_is_listed_goes_on_with_it() -> None:
    """The job is looked for at once, and nothing is bought twice."""
    world = World(service=Service(answers=[LOST], listed={("file-0",): "job-found"}))

    assert world.batch().advance() is None
    assert world.record.job_ids == ["job-found"]
    assert len(world.service.calls("submit")) == 1


def test_lost_reply_is_looked_for_with_slack_and_without_known_jobs() -> None:
    """Clocks differ, and a job that answers another request is not the answer to this one."""
    world = World(images=2, service=Service(answers=["job-1", LOST]))

    world.batch().advance()

    assert world.service.calls("find") == [("find", START - CLOCK_SLACK_SECONDS, frozenset({"job-1"}))]


def test_lost_reply_without_a_listed_job_waits_for_the_grace_period() -> None:
    """PiktID may not list a fresh job yet."""
    world = World(service=Service(answers=[LOST]))

    wait = waiting(world.batch(lost_reply_grace=30).advance())

    assert wait.not_before == START + 30
    assert not wait.until_job_ends
    assert world.states == ["intent"]


def test_lost_reply_is_found_after_the_grace_period() -> None:
    """The second look finds what the first could not."""
    world = World(service=Service(answers=[LOST]))
    world.batch(lost_reply_grace=30).advance()
    world.now += 30
    world.service.listed[("file-0",)] = "job-late"

    assert world.batch(lost_reply_grace=30).advance() is None
    assert world.record.job_ids == ["job-late"]


def test_lost_reply_that_stays_lost_fails_by_default() -> None:
    """Paying twice is nobody's decision but the author's; a later try looks again."""
    world = World(service=Service(answers=[LOST]))
    world.batch(lost_reply_grace=30).advance()
    world.now += 30

    for _ in range(2):
        with pytest.raises(PiktidSubmissionError, match=r"^piktid_test: .*on_lost_reply"):
            world.batch(lost_reply_grace=30).advance()

    assert len(world.service.calls("submit")) == 1


def test_lost_reply_is_resubmitted_once_when_told() -> None:
    """``resubmit`` buys a second time, and never a third."""
    world = World(service=Service(answers=[LOST, LOST]))
    world.batch(lost_reply_grace=30, on_lost_reply="resubmit").advance()
    world.now += 30
    assert world.batch(lost_reply_grace=30, on_lost_reply="resubmit").advance() is not None
    world.now += 30

    with pytest.raises(PiktidSubmissionError):
        world.batch(lost_reply_grace=30, on_lost_reply="resubmit").advance()

    assert len(world.service.calls("submit")) == 2


def test_resubmission_that_succeeds_is_an_ordinary_job() -> None:
    """After one lost reply the second request counts."""
    world = World(service=Service(answers=[LOST]))

    assert world.batch(lost_reply_grace=0, on_lost_reply="resubmit").advance() is None
    assert world.record.job_ids == ["job-1"]
    assert world.record.submissions[0].resubmitted


def test_failure_to_look_is_raised_and_keeps_the_intent() -> None:
    """A listing that cannot be read is not an empty listing."""
    world = World(service=Service(answers=[LOST]))

    def away(images: list[str], since: float, known: set[str]) -> str | None:
        raise PiktidConnectionError("away")

    world.service.find = away  # type: ignore[method-assign]

    with pytest.raises(PiktidConnectionError):
        world.batch(lost_reply_grace=0, on_lost_reply="resubmit").advance()
    assert world.states == ["intent"]


@pytest.mark.parametrize("listed", [True, False], ids=["bought", "not bought"])
def test_crash_between_intent_and_reply_is_cleared_up_by_the_next_try(listed: bool) -> None:
    """A try that was killed while it waited for the reply is treated like a lost reply."""
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


def test_crash_without_a_time_counts_from_the_record() -> None:
    """An intent without its time is as old as the record."""
    world = World()
    world.record.submissions[0].state = "intent"

    assert waiting(world.batch(lost_reply_grace=30).advance()).not_before == START + 30


def test_unclear_submission_holds_up_those_behind_it() -> None:
    """Nothing more is bought before the fate of the last request is known."""
    world = World(images=3, service=Service(answers=[LOST]))

    world.batch(lost_reply_grace=30).advance()

    assert world.states == ["intent", "planned", "planned"]


def test_own_rate_is_kept_without_asking() -> None:
    """The sixth job of a minute waits until the first is a minute old."""
    world = World(images=7)

    wait = waiting(world.batch(limits=AccountLimits(active_jobs=100)).advance())

    assert (len(world.service.bought), wait.not_before, wait.until_job_ends) == (5, START + 60, False)
    world.now = wait.not_before
    assert world.batch(limits=AccountLimits(active_jobs=100)).advance() is None


def test_own_rate_is_a_sliding_window() -> None:
    """Each submission makes room for one a minute later."""
    world = World(images=4)
    limits = AccountLimits(jobs_per_minute=2, active_jobs=100)
    world.record.submissions[0].state, world.record.submissions[0].job_id = "submitted", "job-a"
    world.record.submissions[0].submitted_at = START - 50

    wait = waiting(world.batch(limits=limits).advance())

    assert (len(world.service.bought), wait.not_before) == (1, START + 10)


def test_own_active_jobs_are_asked_for_when_the_house_is_full() -> None:
    """Jobs that have ended make room at once; the others are waited for."""
    world = World(images=4)
    limits = AccountLimits(jobs_per_minute=100, active_jobs=2)

    wait = waiting(world.batch(limits=limits).advance())

    assert (len(world.service.bought), wait.not_before) == (2, START + FULL_ACCOUNT_SECONDS)
    assert wait.until_job_ends
    world.service.done = {"job-1": "completed", "job-2": "failed"}
    assert world.batch(limits=limits).advance() is None
    assert [item.ended for item in world.record.submissions] == ["completed", "failed", None, None]


def test_jobs_of_the_record_are_not_asked_for_while_there_is_room() -> None:
    """A quiet account costs no status requests."""
    world = World(images=3)

    world.batch().advance()

    assert world.service.calls("ended") == []
