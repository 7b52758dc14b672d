# SPDX-License-Identifier: Apache-2.0
"""The record of paid jobs: split, stored, read back, and never mistaken for "no record"."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_piktid.common.records import (
    NoRecords,
    ObjectRecords,
    Store,
    TaskStateRecords,
    choose_store,
    fingerprint,
    record_key,
)
from airflow_provider_piktid.exceptions import PiktidRecordError
from airflow_provider_piktid.jobs.submission import RECORD_VERSION, STATE_KEY, JobRecord, Submission, plan
from airflow_provider_piktid.models.model_swap import ModelSwap
from tests.support.tasks import StateStore, TaskInstance


def open_store(context: dict[str, Any], state_path: str | None) -> Store[JobRecord]:
    return choose_store(context, state_path, STATE_KEY, JobRecord.from_json)


def record() -> JobRecord:
    return JobRecord(
        "print",
        100.0,
        [
            Submission(10, 102.0, "job-1", "completed", state="submitted", intent_at=101.0),
            Submission(10, 104.0, "job-2", None, ["job-0"], state="submitted", intent_at=103.0),
            Submission(3, state="intent", intent_at=105.0),
            Submission(1),
        ],
        superseded=["job-x"],
    )


def state_store() -> Store[JobRecord]:
    return TaskStateRecords(StateStore(), STATE_KEY, JobRecord.from_json)


def object_store(folder: Path) -> Store[JobRecord]:
    return ObjectRecords(str(folder), "key", JobRecord.from_json)


@pytest.fixture(params=["task state", "objects"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store[JobRecord]:
    return state_store() if request.param == "task state" else object_store(tmp_path / "state")


@pytest.mark.parametrize(
    ("images", "per_job", "counts"),
    [(1, 10, [1]), (10, 10, [10]), (11, 10, [10, 1]), (25, 10, [10, 10, 5]), (3, 1, [1, 1, 1]), (0, 10, [])],
)
def test_plan_splits_images_in_order(images: int, per_job: int, counts: list[int]) -> None:
    """Submissions are full but the last, and none is sent yet."""
    split = ModelSwap(identity_code="x").split(images, per_job)
    planned = plan(split, fingerprint="f", now=5.0)

    assert [item.count for item in planned.submissions] == counts
    assert {item.state for item in planned.submissions} <= {"planned"}


def test_record_deals_images_out_to_submissions() -> None:
    """The ids are not stored, so they are dealt out again in the same order."""
    images = [f"file-{n}" for n in range(24)]

    chunks = record().chunks(images)

    assert [len(chunk) for chunk in chunks] == [10, 10, 3, 1]
    assert [image for chunk in chunks for image in chunk] == images


def test_record_knows_its_jobs() -> None:
    """Job ids stay in the order of the images; those that ended are not active; old ones are remembered."""
    assert record().job_ids == ["job-1", "job-2"]
    assert record().active == ["job-2"]
    assert record().known_jobs == {"job-0", "job-1", "job-2", "job-x"}


def test_record_survives_json() -> None:
    """What a store writes can be read back whole."""
    assert JobRecord.from_json(json.loads(json.dumps(record().to_json()))) == record()


def broken(**changes: Any) -> dict[str, Any]:
    return {**record().to_json(), **changes}


@pytest.mark.parametrize(
    "value",
    [
        pytest.param("text", id="text"),
        pytest.param([], id="list"),
        pytest.param({}, id="empty object"),
        pytest.param({"version": RECORD_VERSION}, id="only a version"),
        pytest.param(broken(version=RECORD_VERSION + 1), id="newer version"),
        pytest.param(broken(version="x"), id="version no number"),
        pytest.param(broken(submissions=None), id="no submissions"),
        pytest.param(broken(submissions=[{"count": 1, "colour": "red"}]), id="unknown field"),
        pytest.param(broken(submissions=[{"count": 1, "state": "paid"}]), id="unknown state"),
        pytest.param(broken(submissions=[{"count": 1, "state": "submitted"}]), id="submitted without id"),
        pytest.param(
            broken(submissions=[{"count": 1, "state": "planned", "job_id": "j"}]), id="planned with id"
        ),
    ],
)
def test_record_that_cannot_be_understood_stops_the_task(value: Any) -> None:
    """A damaged record is never read as work that was not paid."""
    with pytest.raises(PiktidRecordError):
        JobRecord.from_json(value)


def test_store_without_a_record_says_so(store: Store[JobRecord]) -> None:
    """None means that there certainly is none."""
    assert store.load() is None


def test_store_gives_back_what_was_saved_last(store: Store[JobRecord]) -> None:
    """Saving again replaces the record."""
    store.save(plan([1], fingerprint="other", now=1.0))
    store.save(record())

    assert store.load() == record()
    assert store.durable


def test_unreadable_task_state_is_not_no_record() -> None:
    """If Airflow does not answer, the task stops before it submits."""
    state = StateStore()
    state.fail_reads = True

    with pytest.raises(PiktidRecordError, match="Nothing was submitted"):
        TaskStateRecords(state, STATE_KEY, JobRecord.from_json).load()


def test_failed_write_names_the_jobs_known_so_far() -> None:
    """Whoever has to clean up finds the job ids in the message."""
    state = StateStore()
    state.fail_writes = True

    with pytest.raises(PiktidRecordError, match="job-2"):
        TaskStateRecords(state, STATE_KEY, JobRecord.from_json).save(record())


@pytest.mark.parametrize(
    "content", ["", "{", '{"a": 1}', "null\x00"], ids=["empty", "cut", "strange", "junk"]
)
def test_damaged_object_is_not_no_record(tmp_path: Path, content: str) -> None:
    """A file that is there but cannot be understood stops the task."""
    (tmp_path / "key.json").write_text(content)

    with pytest.raises(PiktidRecordError):
        object_store(tmp_path).load()


def test_unwritable_state_path_is_told(tmp_path: Path) -> None:
    """The remedy names the setting."""
    (tmp_path / "file").write_text("in the way")

    with pytest.raises(PiktidRecordError, match="state_path"):
        object_store(tmp_path / "file").save(record())


def test_object_store_leaves_nothing_but_the_record(tmp_path: Path) -> None:
    """No temporary file stays behind."""
    object_store(tmp_path).save(record())

    assert [path.name for path in tmp_path.iterdir()] == ["key.json"]


def test_no_store_forgets() -> None:
    """Where nothing can be kept, nothing is pretended."""
    store: Store[JobRecord] = NoRecords()
    store.save(record())

    assert store.load() is None
    assert not store.durable


def test_state_path_goes_before_the_task_state_store(tmp_path: Path) -> None:
    """A record in object storage is taken wherever it is asked for."""
    context = {"ti": TaskInstance(), "task_state_store": StateStore()}

    assert isinstance(open_store(context, str(tmp_path)), ObjectRecords)
    assert isinstance(open_store(context, None), TaskStateRecords)
    assert isinstance(open_store({"ti": TaskInstance()}, None), NoRecords)


def test_state_path_of_the_configuration_counts(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """``[piktid] state_path`` sets it for all tasks."""
    monkeypatch.setenv("AIRFLOW__PIKTID__STATE_PATH", str(tmp_path))

    assert isinstance(open_store({"ti": TaskInstance()}, None), ObjectRecords)


def test_record_key_ignores_the_try_number(tmp_path: Path) -> None:
    """A later try of the same task instance finds the record."""
    first, second = TaskInstance(try_number=1), TaskInstance(try_number=2)
    open_store({"ti": first}, str(tmp_path)).save(record())

    assert open_store({"ti": second}, str(tmp_path)).load() == record()


def test_record_key_tells_task_instances_apart() -> None:
    """Dag, task, run and map index each make another record, however they are cut."""
    keys = {
        record_key("d", "t", "r", -1),
        record_key("d", "t", "r", 0),
        record_key("d", "t", "r2", -1),
        record_key("d", "t2", "r", -1),
        record_key("d2", "t", "r", -1),
        record_key("d.t", "t", "r", -1),
        record_key("d", "t.t", "r", -1),
    }

    assert len(keys) == 7
    assert record_key("d", "t", "r", None) == record_key("d", "t", "r", -1)


@pytest.mark.parametrize("dag_id", ["a" * 250, "カタログ" * 60, "a/../../b", "group.task+x:y"])
def test_record_key_is_a_file_name_anywhere(dag_id: str) -> None:
    """Names of DAGs may be long and in any script; file systems are stricter."""
    name = record_key(dag_id, "task", "manual__2026-01-01T00:00:00+00:00", 3) + ".json"

    assert len(name.encode()) < 200
    assert name.isascii()
    assert "/" not in name


def test_fingerprint_depends_on_content_not_on_the_order_of_keys() -> None:
    """The same request has the same fingerprint; any other has not."""
    assert fingerprint({"a": 1, "b": [1, 2]}) == fingerprint({"b": [1, 2], "a": 1})
    assert fingerprint({"a": 1, "b": [1, 2]}) != fingerprint({"a": 1, "b": [2, 1]})
