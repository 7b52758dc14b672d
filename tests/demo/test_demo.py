# SPDX-License-Identifier: Apache-2.0
"""The demos: where the example DAGs are, and whether a run produced results."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from airflow_provider_piktid.demo import batch, nights, person
from airflow_provider_piktid.demo.environment import DemoError, airflow_environment, example_dags
from airflow_provider_piktid.demo.pictures import differs, photographs, two_persons
from airflow_provider_piktid.demo.progress import step
from tests.conftest import EXAMPLE_DAGS


@pytest.fixture
def portrait(tmp_path: Path) -> Path:
    """A photograph of a person."""
    return photographs(tmp_path / "in") / "look-1" / "front.jpg"


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """The log of a finished DAG run."""
    path = tmp_path / "airflow.log"
    path.write_text("the run is over\n")
    return path


def with_square(source: Path, target: Path) -> Path:
    """Save a copy with a red square as large as a face."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with Image.open(source) as picture:
        changed = picture.convert("RGB")
    changed.paste("red", (180, 60, 260, 160))
    changed.save(target)
    return target


def write_manifest(output: Path, *rows: dict[str, Any]) -> None:
    """Write a manifest as the download operator does."""
    common = {"status": "done", "size": 1, "model_used": "onda", "job_id": "job", "job_credits_used": 1}
    (output / "_piktid").mkdir(parents=True)
    (output / "_piktid" / "manifest-1.json").write_text(json.dumps([common | row for row in rows]))


def test_clone_uses_its_own_example_dags(repository: Path) -> None:
    """An editable install uses the example DAGs of the repository."""
    assert example_dags() == repository / "example_dags"


def test_missing_dag_folder_raises(tmp_path: Path) -> None:
    """A wrong ``--dags`` raises an error that names the folder and the option."""
    with pytest.raises(DemoError, match=r"not found: .*/nowhere\..* --dags"):
        airflow_environment(tmp_path / "home", tmp_path / "nowhere")


def test_recompressed_copy_does_not_differ(portrait: Path, tmp_path: Path) -> None:
    """A recompressed copy of the source does not count as different."""
    with Image.open(portrait) as picture:
        picture.save(tmp_path / "again.jpg", quality=75)
    assert not differs(tmp_path / "again.jpg", portrait)


def test_changed_face_differs(portrait: Path, tmp_path: Path) -> None:
    """A change as large as a face counts as different."""
    assert differs(with_square(portrait, tmp_path / "other.jpg"), portrait)


def test_complete_batch_passes(portrait: Path, tmp_path: Path, log: Path) -> None:
    """A batch with a different output for each image raises nothing."""
    with_square(portrait, tmp_path / "out" / "front.jpg")
    write_manifest(tmp_path / "out", {"file": "front.jpg", "source": f"file://{portrait}"})
    for other in (portrait.parent / "detail.jpg", tmp_path / "in" / "look-2" / "front.jpg"):
        other.unlink()
    batch.report(tmp_path / "out", tmp_path / "in", log)


def test_batch_without_a_result_fails(portrait: Path, tmp_path: Path, log: Path) -> None:
    """An image that is missing in the manifest raises an error that names it."""
    with_square(portrait, tmp_path / "out" / "front.jpg")
    write_manifest(tmp_path / "out", {"file": "front.jpg", "source": f"file://{portrait}"})
    with pytest.raises(DemoError, match=r"^2 photograph\(s\) without a result: .*look-1/detail\.jpg"):
        batch.report(tmp_path / "out", tmp_path / "in", log)


def test_persons_that_equal_the_photograph_fail(tmp_path: Path, log: Path) -> None:
    """A person result that equals its source raises an error that names the file."""
    photograph = two_persons(tmp_path / "persons.jpg")
    for keyword in ("a", "b", "c"):
        (tmp_path / f"persons_person0_{keyword}.jpg").write_bytes(photograph.read_bytes())
    with pytest.raises(DemoError, match=r"^3 of 3 results; not different .*persons_person0_a\.jpg"):
        person.report(tmp_path, photograph, log, persons=1)


def test_step_shows_what_the_operators_log(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Without a terminal a step prints a plain line for each state that its log shows, each once."""
    log = tmp_path / "airflow.log"
    log.write_text("2026 [info     ] an earlier run [airflow.task.operators.airflow_provider_piktid.x.Y]\n")
    own = "[airflow_provider_piktid.triggers.job.PiktidJobTrigger] loc=job.py:120"
    lines = [
        f"2026 [info     ] Job job_{'0' * 32}: processing, 1/3 images {own}",
        f"2026 [info     ] Job job_{'0' * 32}: processing, 1/3 images {own}",
        "2026 [info     ] Pushing xcom  [task] loc=task_runner.py:2280",
    ]

    with step("airflow", "running", log), log.open("a") as file:
        file.write("\n".join(lines) + "\n")

    assert capsys.readouterr().out.splitlines() == [
        "airflow:   running ...",
        "           Job: processing, 1/3 images",
    ]


def test_report_of_a_night_counts_what_was_bought_and_spared() -> None:
    """The lines name what was bought, spared and rejected, and the sheet."""
    planned = {"listed": 6, "images": 1, "unchanged": 3, "reused": 1, "rejected": 1}

    assert nights.report(planned, {"credits": 1.0, "contact_sheet": "file:///sheet.html"}) == [
        "bought:   1 of 6, for 1 credits",
        "spared:   3 unchanged, 1 copied under a new name",
        "rejected: 1, no credits spent; the sheet says why",
        "sheet:    file:///sheet.html",
    ]


@pytest.mark.slow
def test_three_nights_buy_all_then_nothing_then_what_has_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """`make demo-refresh` buys six photographs, then none, then the changed one, and names a sheet that exists."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(EXAMPLE_DAGS.parent))
    monkeypatch.delenv("AIRFLOW_HOME")

    nights.run(EXAMPLE_DAGS, tmp_path / "out", "PiktidSummer")

    printed = capsys.readouterr().out.splitlines()
    assert [line.split(":")[1].split()[:3] for line in printed if "bought:" in line] == [
        ["6", "of", "6,"],
        ["0", "of", "6,"],
        ["1", "of", "6,"],
    ]
    sheets = [Path(line.partition("file://")[2]) for line in printed if "sheet: " in line]
    assert len(sheets) == 2
    assert all(sheet.is_file() for sheet in sheets)
