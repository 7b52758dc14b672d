# SPDX-License-Identifier: Apache-2.0
"""The record of paid jobs: planning, storing and loading."""

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
        earlier=[JobRecord("before", 50.0, [Submission(1, 51.0, "job-x", state="submitted")]).to_json()],
    )


def state_store() -> Store[JobRecord]:
    return TaskStateRecords(StateStore(), STATE_KEY, JobRecord.from_json)


def object_store(folder: Path) -> Store[JobRecord]:
    return ObjectRecords(str(folder / "key.json"), JobRecord.from_json)


@pytest.fixture(params=["task state", "objects"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store[JobRecord]:
    return state_store() if request.param == "task state" else object_store(tmp_path / "state")


@pytest.mark.parametrize(
    ("images", "per_job", "counts"),
    [(1, 10, [1]), (10, 10, [10]), (11, 10, [10, 1]), (25, 10, [10, 10, 5]), (3, 1, [1, 1, 1]), (0, 10, [])],
)
def test_plan_splits_images_in_order(images: int, per_job: int, counts: list[int]) -> None:
    """Images are split in order into submissions of ``per_job`` images, all of them planned."""
    split = ModelSwap(identity_code="x").split(images, per_job)
    planned = plan(split, fingerprint="f", now=5.0)

    assert [item.count for item in planned.submissions] == counts
    assert {item.state for item in planned.submissions} <= {"planned"}


def test_chunks_assign_images_to_submissions_in_order() -> None:
    """``chunks`` assigns the images to the submissions in order."""
    images = [f"file-{n}" for n in range(24)]

    chunks = record().chunks(images)

    assert [len(chunk) for chunk in chunks] == [10, 10, 3, 1]
    assert [image for chunk in chunks for image in chunk] == images


def test_record_lists_its_jobs() -> None:
    """The record lists the submitted, the active and all known job ids."""
    assert record().job_ids == ["job-1", "job-2"]
    assert record().active == ["job-2"]
    assert record().known_jobs == {"job-0", "job-1", "job-2", "job-x"}


def test_record_is_restored_from_json() -> None:
    """A record that is restored from its JSON equals the original."""
    assert JobRecord.from_json(json.loads(json.dumps(record().to_json()))) == record()


def broken(**changes: Any) -> dict[str, Any]:
    return {**record().to_json(), **changes}


@pytest.mark.parametrize(
    "value",
    [
        pytest.param("text", id="string"),
        pytest.param([], id="list"),
        pytest.param({}, id="empty object"),
        pytest.param({"version": RECORD_VERSION}, id="only a version"),
        pytest.param(broken(version=RECORD_VERSION + 1), id="newer version"),
        pytest.param(broken(version="x"), id="version is not a number"),
        pytest.param(broken(submissions=None), id="no submissions"),
        pytest.param(broken(submissions=[{"count": 1, "colour": "red"}]), id="unknown field"),
        pytest.param(broken(submissions=[{"count": 1, "state": "paid"}]), id="unknown state"),
        pytest.param(broken(submissions=[{"count": 1, "state": "submitted"}]), id="submitted without id"),
        pytest.param(
            broken(submissions=[{"count": 1, "state": "planned", "job_id": "j"}]), id="planned with id"
        ),
    ],
)
def test_invalid_record_raises(value: Any) -> None:
    """An invalid record raises ``PiktidRecordError``."""
    with pytest.raises(PiktidRecordError):
        JobRecord.from_json(value)


def test_empty_store_returns_none(store: Store[JobRecord]) -> None:
    """A store without a record returns None."""
    assert store.load() is None


def test_store_returns_the_record_saved_last(store: Store[JobRecord]) -> None:
    """A durable store returns the record that was saved last."""
    store.save(plan([1], fingerprint="other", now=1.0))
    store.save(record())

    assert store.load() == record()
    assert store.durable


def test_unreadable_task_state_raises() -> None:
    """If the task state store cannot be read, ``PiktidRecordError`` is raised."""
    state = StateStore()
    state.fail_reads = True

    with pytest.raises(PiktidRecordError, match="Nothing was submitted"):
        TaskStateRecords(state, STATE_KEY, JobRecord.from_json).load()


def test_failed_write_lists_the_known_jobs() -> None:
    """If the record cannot be written, the error contains the known job ids."""
    state = StateStore()
    state.fail_writes = True

    with pytest.raises(PiktidRecordError, match="job-2"):
        TaskStateRecords(state, STATE_KEY, JobRecord.from_json).save(record())


@pytest.mark.parametrize(
    "content", ["", "{", '{"a": 1}', "null\x00"], ids=["empty", "truncated", "not a record", "invalid"]
)
def test_invalid_record_file_raises(tmp_path: Path, content: str) -> None:
    """A record file that is not a valid record raises ``PiktidRecordError``."""
    (tmp_path / "key.json").write_text(content)

    with pytest.raises(PiktidRecordError):
        object_store(tmp_path).load()


def test_unwritable_state_path_raises(tmp_path: Path) -> None:
    """If ``state_path`` cannot be written, the error names the setting."""
    (tmp_path / "file").write_text("in the way")

    with pytest.raises(PiktidRecordError, match="state_path"):
        object_store(tmp_path / "file").save(record())


def test_object_store_leaves_no_temporary_file(tmp_path: Path) -> None:
    """Saving a record leaves no temporary file."""
    object_store(tmp_path).save(record())

    assert [path.name for path in tmp_path.iterdir()] == ["key.json"]


def test_no_records_stores_nothing() -> None:
    """``NoRecords`` stores nothing and is not durable."""
    store: Store[JobRecord] = NoRecords()
    store.save(record())

    assert store.load() is None
    assert not store.durable


def test_state_path_has_priority_over_the_task_state_store(tmp_path: Path) -> None:
    """``state_path`` has priority over the task state store; without both nothing is stored."""
    context = {"ti": TaskInstance(), "task_state_store": StateStore()}

    assert isinstance(open_store(context, str(tmp_path)), ObjectRecords)
    assert isinstance(open_store(context, None), TaskStateRecords)
    assert isinstance(open_store({"ti": TaskInstance()}, None), NoRecords)


def test_state_path_is_read_from_the_configuration(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """``[piktid] state_path`` is used if the operator does not set one."""
    monkeypatch.setenv("AIRFLOW__PIKTID__STATE_PATH", str(tmp_path))

    assert isinstance(open_store({"ti": TaskInstance()}, None), ObjectRecords)


def test_record_key_ignores_the_try_number(tmp_path: Path) -> None:
    """A later try of the same task instance loads the record."""
    first, second = TaskInstance(try_number=1), TaskInstance(try_number=2)
    open_store({"ti": first}, str(tmp_path)).save(record())

    assert open_store({"ti": second}, str(tmp_path)).load() == record()


def test_iterations_of_a_loop_have_records_of_their_own(tmp_path: Path) -> None:
    """In a loop of Airflow 3.4 the second iteration does not take up what the first one has paid for."""
    first, second = TaskInstance(region_index=0), TaskInstance(region_index=1)
    open_store({"ti": first}, str(tmp_path)).save(record())

    assert open_store({"ti": second}, str(tmp_path)).load() is None


def test_mapped_task_keeps_its_record_on_newer_airflow(tmp_path: Path) -> None:
    """A record that Airflow 3.3 has written is found by 3.4, which repeats the map index as ``region_index``."""
    open_store({"ti": TaskInstance(map_index=2)}, str(tmp_path)).save(record())

    assert open_store({"ti": TaskInstance(map_index=2, region_index=2)}, str(tmp_path)).load() == record()


def test_record_key_is_unique_for_each_task_instance() -> None:
    """DAG, task, run and map index each change the record key."""
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
def test_record_key_is_a_valid_file_name(dag_id: str) -> None:
    """The record key is a short ASCII file name, whatever the DAG id is."""
    name = record_key(dag_id, "task", "manual__2026-01-01T00:00:00+00:00", 3) + ".json"

    assert len(name.encode()) < 200
    assert name.isascii()
    assert "/" not in name


def test_fingerprint_depends_on_content_not_on_the_order_of_keys() -> None:
    """The fingerprint depends on the content and not on the order of the keys."""
    assert fingerprint({"a": 1, "b": [1, 2]}) == fingerprint({"b": [1, 2], "a": 1})
    assert fingerprint({"a": 1, "b": [1, 2]}) != fingerprint({"a": 1, "b": [2, 1]})
