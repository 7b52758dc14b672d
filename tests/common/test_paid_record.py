# SPDX-License-Identifier: Apache-2.0
"""A record is taken up by one process after another, and written by one at a time."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from airflow_provider_piktid.common.paid import RecordedWork
from airflow_provider_piktid.common.records import NoRecords, ObjectRecords, Store, TaskStateRecords
from airflow_provider_piktid.exceptions import PiktidRecordError
from airflow_provider_piktid.jobs.submission import STATE_KEY, JobRecord, plan
from tests.support.tasks import StateStore

Work = RecordedWork[JobRecord]


@pytest.fixture(params=["task state", "objects"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store[JobRecord]:
    if request.param == "objects":
        return ObjectRecords(str(tmp_path / "key.json"), JobRecord.from_json)
    return TaskStateRecords(StateStore(), STATE_KEY, JobRecord.from_json)


def process(store: Store[JobRecord]) -> Work:
    return RecordedWork(store, JobRecord.from_json, logging.getLogger(__name__))


def begin(store: Store[JobRecord], fingerprint: str = "a") -> Work:
    """Begin a process of a task: take up the record, or start and save one of two jobs."""
    work = process(store)
    if work.take_up(fingerprint) is None:
        work.start(plan([1, 1], fingerprint=fingerprint, now=1.0))
        work.save()
    return work


def submit(work: Work, index: int, job_id: str) -> None:
    work.record.submissions[index].submitted(job_id, 2.0)
    work.save()


def test_older_process_cannot_write_after_its_retry_began(store: Store[JobRecord]) -> None:
    """Once a retry has taken up a record with unsent requests, the older process cannot write an intent."""
    old = begin(store)
    submit(old, 0, "job-1")

    retry = begin(store)

    with pytest.raises(
        PiktidRecordError, match=r"Another process of this task has written its record.*job-1"
    ):
        old.save()
    submit(retry, 1, "job-2")
    assert retry.record.job_ids == ["job-1", "job-2"]


def test_older_process_that_paused_before_its_first_write_cannot_write(store: Store[JobRecord]) -> None:
    """A process that found no record cannot write one after another process did."""
    old = process(store)
    assert old.take_up("a") is None
    old.start(plan([1, 1], fingerprint="a", now=1.0))

    begin(store)

    with pytest.raises(PiktidRecordError, match="Another process"):
        old.save()


def test_process_cannot_write_a_record_that_was_removed() -> None:
    """A record that was removed meanwhile, by a clear for instance, is not written again."""
    state = StateStore()
    work = begin(TaskStateRecords(state, STATE_KEY, JobRecord.from_json))
    state.values.clear()

    with pytest.raises(PiktidRecordError, match="has removed its record"):
        work.save()


def test_write_of_unknown_outcome_can_be_repeated(tmp_path: Path) -> None:
    """If a write fails after it reached the store, the same process can write again."""

    class Unsure(ObjectRecords[JobRecord]):
        fails = False

        def save(self, record: JobRecord) -> None:
            super().save(record)
            if self.fails:
                raise PiktidRecordError("not certain")

    unsure = Unsure(str(tmp_path / "key.json"), JobRecord.from_json)
    work = begin(unsure)
    unsure.fails = True
    with pytest.raises(PiktidRecordError):
        work.save()
    unsure.fails = False

    work.save()

    assert work.record.revision == 3


def test_complete_record_is_taken_up_without_a_write(store: Store[JobRecord]) -> None:
    """A record with nothing left to send is not written when it is taken up."""
    first = begin(store)
    submit(first, 0, "job-1")
    submit(first, 1, "job-2")

    assert begin(store).record.revision == first.record.revision


@pytest.mark.parametrize("order", ["aba", "abca", "abcb", "abab"])
def test_arguments_that_change_back_find_their_record(store: Store[JobRecord], order: str) -> None:
    """For arguments that a task instance had before, its record of that time is taken up."""
    for number, fingerprint in enumerate(order[:-1]):
        work = begin(store, fingerprint)
        if not work.record.job_ids:
            submit(work, 0, f"job-{fingerprint}-{number}")

    back = begin(store, order[-1])

    assert back.record.job_ids == [f"job-{order[-1]}-{order.index(order[-1])}"]
    assert {value["fingerprint"] for value in back.record.earlier} == {*order[:-1]} - {order[-1]}


def test_jobs_of_earlier_arguments_are_known(store: Store[JobRecord]) -> None:
    """Jobs that were bought with other arguments are never taken for the answer to a lost reply."""
    submit(begin(store, "a"), 0, "job-a")

    work = begin(store, "b")

    assert work.other is not None
    assert work.record.known_jobs == {"job-a"}
    stored = store.load()
    assert stored is not None
    assert stored.known_jobs == {"job-a"}


@pytest.mark.parametrize(
    ("fingerprint", "submitted", "refused"),
    [
        pytest.param("a", 1, True, id="some unsent"),
        pytest.param("a", 2, False, id="all sent"),
        pytest.param("b", 2, True, id="other arguments"),
    ],
)
def test_closed_record_sends_nothing(
    store: Store[JobRecord], fingerprint: str, submitted: int, refused: bool
) -> None:
    """What others have taken over is not sent with the record; jobs that were submitted can be attached to."""
    work = begin(store)
    for index in range(submitted):
        submit(work, index, f"job-{index}")
    work.record.closed_by = "The run of the next night"
    work.save()

    if refused:
        with pytest.raises(PiktidRecordError, match="The run of the next night has taken over") as caught:
            process(store).take_up(fingerprint)
        assert caught.value.permanent
    else:
        assert begin(store, fingerprint).record.job_ids == ["job-0", "job-1"]


def test_wait_that_ends_after_its_record_was_closed_sends_nothing(store: Store[JobRecord]) -> None:
    """A task that waited while others took over what it had not sent fails."""
    work = begin(store)
    state = {"record": work.record.to_json()}
    work.record.closed_by = "The run of the next night"
    work.save()

    with pytest.raises(PiktidRecordError, match="has taken over"):
        process(store).restore(state, "a")


def test_nothing_is_compared_where_nothing_is_kept() -> None:
    """Without a store a process can always go on."""
    work = begin(NoRecords())

    submit(work, 0, "job-1")

    assert work.record.job_ids == ["job-1"]
