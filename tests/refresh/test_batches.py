# SPDX-License-Identifier: Apache-2.0
"""What the records of earlier runs say about their sources."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_piktid.exceptions import PiktidRecordError
from airflow_provider_piktid.files import storage
from airflow_provider_piktid.files.walk import walk
from airflow_provider_piktid.jobs.submission import JobRecord, Submission
from airflow_provider_piktid.jobs.uploads import UploadRecord
from airflow_provider_piktid.refresh import batches
from airflow_provider_piktid.refresh.batches import (
    OPEN_SECONDS,
    PaidBatch,
    PlanFiles,
    close_runs,
    mark_collected,
    paid_batches,
    read_jobs,
    take_over,
)
from airflow_provider_piktid.refresh.catalogue import ROW_BASE
from tests.support.catalogue import row

NOW = 1_000_000.0


def entry(name: str) -> dict[str, Any]:
    fields = {field: value for field, value in vars(row(name)).items() if field in ROW_BASE}
    return {"source": f"s3://b/in/{name}", "relative": name, "reason": "new", "row": fields}


def upload(name: str) -> dict[str, Any]:
    return {"file_id": f"file-{name}", "source": f"s3://b/in/{name}", "sha256": "ab", "size": 7}


def batch(*submissions: Submission, collected: tuple[str, ...] = ()) -> PaidBatch:
    names = ("a.jpg", "b.jpg", "c.jpg")
    record = JobRecord("f", NOW, list(submissions), content={"job_type": "model_swap"})
    return PaidBatch(
        "run", [entry(name) for name in names], [upload(name) for name in names], record, frozenset(collected)
    )


def submitted(count: int, job_id: str) -> Submission:
    return Submission(count, NOW + 2, job_id, state="submitted", intent_at=NOW + 1)


def intent(count: int) -> Submission:
    return Submission(count, state="intent", intent_at=NOW + 5)


class Finder:
    """Answers a look-up as planned and remembers what was asked."""

    def __init__(self, job_id: str | None = None) -> None:
        self.job_id = job_id
        self.asked: list[tuple[list[str], float, set[str]]] = []

    def __call__(
        self, content: Mapping[str, Any], images: list[str], since: float, known: set[str]
    ) -> str | None:
        assert content == {"job_type": "model_swap"}
        self.asked.append((images, since, known))
        return self.job_id


def test_submitted_job_is_pending() -> None:
    """Sources of a job are to be downloaded; the row describes what was uploaded, at the time of the request."""
    finder = Finder()

    rows = batch(submitted(2, "job-1"), Submission(1)).rows(finder, resubmit=False)

    assert [(item.relative, item.status, item.job_id, item.file_id, item.at) for item in rows] == [
        ("a.jpg", "pending", "job-1", "file-a.jpg", NOW + 1.001),
        ("b.jpg", "pending", "job-1", "file-b.jpg", NOW + 1.001),
    ]
    assert {(item.source_sha256, item.source_size) for item in rows} == {("ab", 7)}
    assert finder.asked == []


def test_request_without_a_reply_is_looked_for() -> None:
    """A job that PiktID lists for a request of unknown fate is used; jobs of the record are not the answer."""
    finder = Finder("job-found")

    rows = batch(submitted(1, "job-1"), intent(2)).rows(finder, resubmit=False)

    assert [(item.relative, item.job_id) for item in rows][1:] == [
        ("b.jpg", "job-found"),
        ("c.jpg", "job-found"),
    ]
    ((images, since, known),) = finder.asked
    assert (images, known) == (["file-b.jpg", "file-c.jpg"], {"job-1"})
    assert since < NOW + 5


@pytest.mark.parametrize(("resubmit", "statuses"), [(False, ["unknown"]), (True, [])])
def test_request_that_stays_unknown_is_not_bought_by_default(resubmit: bool, statuses: list[str]) -> None:
    """Its sources are reported as unknown, or left to be submitted again where the author chose that."""
    rows = batch(intent(1)).rows(Finder(), resubmit=resubmit)

    assert [item.status for item in rows] == statuses


def test_collected_job_is_not_read_again() -> None:
    """The catalogue has its rows, which may have been pruned since."""
    assert batch(submitted(3, "job-1"), collected=("job-1",)).rows(Finder(), resubmit=False) == []


def write(folder: Path, name: str, content: Any) -> None:
    path = folder / "plans" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))
    os.utime(path, (NOW, NOW))


def stored(folder: Path, run: str, record: JobRecord) -> None:
    """Write the files of a batch."""
    write(folder, f"{run}/batch-0001.json", [entry("a.jpg")])
    write(folder, f"{run}/batch-0001.uploads.json", UploadRecord("p", images=[upload("a.jpg")]).to_json())
    write(folder, f"{run}/batch-0001.jobs.json", record.to_json())


def test_batches_are_read_from_their_files(tmp_path: Path) -> None:
    """Sources, uploads, record and collected jobs are beside each other."""
    record = JobRecord("f", NOW, [submitted(1, "job-1")])
    stored(tmp_path, "run-1", record)
    private = storage.locate(str(tmp_path))
    target = private.join("plans/run-1/batch-0001.json")
    mark_collected(target, ["job-0"])

    (found,) = paid_batches(PlanFiles(private))

    assert (found.run, found.record, found.collected) == ("run-1", record, frozenset({"job-0"}))
    assert [item["file_id"] for item in found.uploads] == ["file-a.jpg"]
    assert read_jobs(target) == [["job-1", 1]]


@pytest.mark.parametrize(
    ("submission", "age", "is_read"),
    [
        pytest.param(submitted(1, "job-1"), OPEN_SECONDS + 10, False, id="old and resolved"),
        pytest.param(submitted(1, "job-1"), OPEN_SECONDS - 10, True, id="may still be running"),
        pytest.param(intent(1), OPEN_SECONDS + 10, True, id="old with a request of unknown fate"),
    ],
)
def test_old_runs_are_closed_once_resolved(
    tmp_path: Path, submission: Submission, age: float, is_read: bool
) -> None:
    """A plan does not read the records of all nights; those with an open question stay open."""
    stored(tmp_path, "run-1", JobRecord("f", NOW, [submission]))
    private = storage.locate(str(tmp_path))

    files = PlanFiles(private)
    close_runs(files, paid_batches(files), "run-2", now=NOW + 5 + age)

    assert bool(paid_batches(PlanFiles(private))) is is_read
    assert bool(PlanFiles(private).runs) is is_read
    assert PlanFiles(private).all_batches == ["run-1/batch-0001.json"]


@pytest.mark.parametrize("late", [True, False], ids=["only a late batch", "a batch without a record"])
def test_run_that_bought_nothing_is_closed(tmp_path: Path, late: bool) -> None:
    """A run that only downloaded is not listed for ever; one that may still submit stays open."""
    write(tmp_path, "run-1/late/batch-0001.json" if late else "run-1/batch-0001.json", [entry("a.jpg")])
    private = storage.locate(str(tmp_path))
    files = PlanFiles(private)

    close_runs(files, [], "run-2", now=NOW + OPEN_SECONDS + 10)

    assert PlanFiles(private).runs == ([] if late else ["run-1"])


def test_only_runs_that_are_open_are_listed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The files of a thousand earlier nights cost one entry each in one listing."""
    for night in range(20):
        stored(tmp_path, f"run-{night:02d}", JobRecord("f", NOW, [submitted(1, "job-1")]))
    private = storage.locate(str(tmp_path))
    files = PlanFiles(private)
    close_runs(files, paid_batches(files), "run-19", now=NOW + OPEN_SECONDS + 10)
    listed: list[str] = []

    def counted(folder: storage.Location, **options: Any) -> Any:
        listed.append(Path(folder.path).name)
        return walk(folder, **options)

    monkeypatch.setattr(batches, "walk", counted)

    assert PlanFiles(private).runs == listed == ["run-19"]


@pytest.mark.parametrize(
    "content",
    [
        pytest.param({"version": 99, "submissions": []}, id="newer version"),
        pytest.param([1, 2], id="not a record"),
    ],
)
def test_record_that_cannot_be_read_is_never_taken_for_none(tmp_path: Path, content: Any) -> None:
    """Nothing may be bought while it is unknown what was paid for."""
    write(tmp_path, "run-1/batch-0001.jobs.json", content)

    with pytest.raises(PiktidRecordError):
        paid_batches(PlanFiles(storage.locate(str(tmp_path))))


def test_half_a_record_is_never_taken_for_none(tmp_path: Path) -> None:
    """A file that is not JSON stops the plan with an error that names it."""
    (tmp_path / "plans" / "run-1").mkdir(parents=True)
    (tmp_path / "plans" / "run-1" / "batch-0001.jobs.json").write_text('{"version": 1, "subm')

    with pytest.raises(PiktidRecordError, match=r"batch-0001\.jobs\.json"):
        paid_batches(PlanFiles(storage.locate(str(tmp_path))))


def test_collected_batch_is_read_from_two_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Sources and uploads of a batch whose rows are all in the catalogue are not read."""
    stored(tmp_path, "run-1", JobRecord("f", NOW, [submitted(1, "job-1")]))
    private = storage.locate(str(tmp_path))
    mark_collected(private.join("plans/run-1/batch-0001.json"), ["job-1"])
    read: list[str] = []
    real = storage.read_json

    def counted(place: storage.Location) -> Any:
        read.append(Path(place.path).name)
        return real(place)

    monkeypatch.setattr(storage, "read_json", counted)

    (found,) = paid_batches(PlanFiles(private))

    assert sorted(read) == ["batch-0001.collected.json", "batch-0001.jobs.json"]
    assert found.rows(Finder(), resubmit=False) == []


def test_record_that_was_written_since_the_plan_read_it_is_not_closed(tmp_path: Path) -> None:
    """A process of an earlier run that still submits keeps its record, and the plan fails."""
    stored(tmp_path, "run-1", JobRecord("f", NOW, [Submission(1)]))
    files = PlanFiles(storage.locate(str(tmp_path)))
    paid = paid_batches(files)
    newer = JobRecord("f", NOW, [submitted(1, "job-1")], owner="other", revision=2)
    stored(tmp_path, "run-1", newer)

    with pytest.raises(PiktidRecordError, match="Another process"):
        take_over(files, paid, "run-2", "A later run")

    (found,) = paid_batches(files)
    assert found.record == newer
