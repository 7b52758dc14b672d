# SPDX-License-Identifier: Apache-2.0
"""One run at a time works on an output folder."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from airflow_provider_piktid.exceptions import PiktidRecordError
from airflow_provider_piktid.files import storage
from airflow_provider_piktid.refresh.active import UNKNOWN_SECONDS, begin_run, end_run, working


class Refused(Exception):
    """As the task SDK reports an answer of the API server."""

    def __init__(self, status_code: int | None) -> None:
        super().__init__(f"API_SERVER_ERROR: {status_code}")
        self.error = SimpleNamespace(detail={"status_code": status_code})


def ti(run_id: str, answer: str | Exception = "running", *, task_id: str = "plan") -> Any:
    def state(dag_id: str, asked: str) -> str:
        assert (dag_id, asked) == ("nightly", "first")
        if isinstance(answer, Exception):
            raise answer
        return answer

    return SimpleNamespace(dag_id="nightly", run_id=run_id, task_id=task_id, get_dagrun_state=state)


@pytest.fixture
def private(tmp_path: Path) -> storage.Location:
    """The private folder of an output on which the run ``first`` has begun to work."""
    folder = storage.locate(str(tmp_path))
    begin_run(folder, ti("first"))
    return folder


@pytest.mark.parametrize("state", ["running", "queued"])
def test_second_run_is_refused_and_told_for_whom(private: storage.Location, state: str) -> None:
    """The error names the DAG run that works on the folder; the note of the first one stays."""
    with pytest.raises(PiktidRecordError, match="DAG run first of nightly") as caught:
        begin_run(private, ti("second", state))

    assert not caught.value.permanent
    assert json.loads(Path(private.path, "active.json").read_text())["run_id"] == "first"


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param("success", id="ended"),
        pytest.param("failed", id="killed"),
        pytest.param(Refused(404), id="deleted, or the database is lost"),
    ],
)
def test_run_that_has_ended_stops_nobody(private: storage.Location, answer: str | Exception) -> None:
    """A run that never reached its summary does not stop the next one."""
    begin_run(private, ti("second", answer))

    assert json.loads(Path(private.path, "active.json").read_text())["run_id"] == "second"


@pytest.mark.parametrize("answer", [Refused(500), Refused(None), ConnectionError()])
def test_age_decides_if_airflow_cannot_tell(private: storage.Location, answer: Exception) -> None:
    """A run of unknown state stops others for twelve hours."""
    with pytest.raises(PiktidRecordError):
        begin_run(private, ti("second", answer))
    place = Path(private.path, "active.json")
    old = json.loads(place.read_text()) | {"since": time.time() - UNKNOWN_SECONDS - 1}
    place.write_text(json.dumps(old))

    begin_run(private, ti("second", answer))


def test_retry_or_clear_is_not_another_run(private: storage.Location) -> None:
    """The same plan of the same DAG run begins again without a question to Airflow."""
    begin_run(private, ti("first", AssertionError()))


def test_another_plan_of_the_same_run_is_refused(private: storage.Location) -> None:
    """Two groups of one DAG must not share an output folder at the same time."""
    with pytest.raises(PiktidRecordError, match=r"\(plan\)"):
        begin_run(private, ti("first", task_id="other.plan"))


def test_summary_ends_only_its_own_run(private: storage.Location) -> None:
    """The summary of an older run does not end a newer one."""
    end_run(private, ti("zero"), "plan")
    assert Path(private.path, "active.json").exists()

    end_run(private, ti("first"), "plan")
    assert not Path(private.path, "active.json").exists()


def test_plan_that_fails_takes_its_note_back(tmp_path: Path) -> None:
    """A plan that was refused does not stop others while its DAG run goes on."""
    with pytest.raises(ValueError, match="refused"), working(storage.locate(str(tmp_path)), ti("first")):
        raise ValueError("refused")

    begin_run(storage.locate(str(tmp_path)), ti("second"))


def test_damaged_note_stops_nobody(private: storage.Location) -> None:
    """Half a file, or one of another kind, is not a run."""
    for content in ('{"dag_id": "ni', '["a"]', '{"x": 1}'):
        Path(private.path, "active.json").write_text(content)
        begin_run(private, ti("second"))


def test_plan_that_was_overwritten_is_refused(
    private: storage.Location, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another plan writes its note between ours and our second look: it goes on, and we do not."""
    real: Callable[..., None] = storage.write_bytes

    def overwritten(place: storage.Location, content: bytes) -> None:
        real(place, content)
        real(place, content.replace(b"second", b"third"))

    monkeypatch.setattr(storage, "write_bytes", overwritten)

    with pytest.raises(PiktidRecordError, match="DAG run third"):
        begin_run(private, ti("second", "failed"))


def test_airflow_2_reads_its_database(private: storage.Location, monkeypatch: pytest.MonkeyPatch) -> None:
    """A task instance of Airflow 2 has no method for it; workers read the database there."""
    from airflow.models.dagrun import DagRun

    second = SimpleNamespace(dag_id="nightly", run_id="second", task_id="plan")
    found = [SimpleNamespace(state="running")]
    monkeypatch.setattr(DagRun, "find", lambda **_: found)
    with pytest.raises(PiktidRecordError):
        begin_run(private, second)
    found.clear()

    begin_run(private, second)
