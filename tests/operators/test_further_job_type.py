# SPDX-License-Identifier: Apache-2.0
"""A kind of job that the package does not have needs an object, an operator and an endpoint, and nothing else."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException

from airflow_provider_piktid.emulator import EmulatorServer
from airflow_provider_piktid.emulator.v2 import routes
from airflow_provider_piktid.exceptions import PiktidBudgetError, PiktidSubmissionError
from airflow_provider_piktid.operators.download import PiktidDownloadOperator
from airflow_provider_piktid.operators.upload import PiktidUploadImagesOperator
from tests.support.batch import jobs
from tests.support.combined import CombinedOperator, create_combined
from tests.support.fixtures import Start
from tests.support.service import picture
from tests.support.tasks import TaskRun

pytestmark = pytest.mark.usefixtures("fast_polls")

PATHS = pytest.mark.parametrize("deferrable", [True, False], ids=["deferrable", "sync"])


@pytest.fixture
def further(start: Start, monkeypatch: pytest.MonkeyPatch) -> EmulatorServer:
    """An emulator that has the endpoint of the further kind."""
    row = routes._route("POST", "/combined", "combined", create_combined)
    monkeypatch.setattr(routes, "ROUTES", [*routes.ROUTES, row])
    return start()


@pytest.fixture
def uploaded(further: EmulatorServer, tmp_path: Path) -> dict[str, Any]:
    """Three uploaded images."""
    for name in ("front.jpg", "back.jpg", "detail.jpg"):
        picture(tmp_path / "in" / name)
    upload = PiktidUploadImagesOperator(task_id="upload", images=str(tmp_path / "in"), project_name="looks")
    result: dict[str, Any] = TaskRun(lambda: upload).run()
    return result


def combine(uploaded: dict[str, Any], **arguments: Any) -> TaskRun:
    fixed: dict[str, Any] = {
        "task_id": "combine",
        "project_id": uploaded["project_id"],
        "images": uploaded["file_ids"],
        "instructions": "2",
        "poll_interval": 0.3,
        "timeout": 30.0,
        "lost_reply_grace": 0.3,
    }
    return TaskRun(lambda: CombinedOperator(**(fixed | arguments)))


@PATHS
def test_further_kind_is_submitted_and_waited_for(
    further: EmulatorServer, uploaded: dict[str, Any], deferrable: bool
) -> None:
    """All images are one job, and the summary counts its two outputs."""
    task = combine(uploaded, deferrable=deferrable)

    result = task.run()

    (job,) = jobs(further)
    assert (job["job_type"], job["images"], result) == ("combined", uploaded["file_ids"], [job["job_id"]])
    summary = task.ti.xcom["summary"]
    assert (summary["images"], summary["successful"], summary["missing"]) == (3, 2, 0)


def test_further_kind_is_attached_to_by_a_retry(further: EmulatorServer, uploaded: dict[str, Any]) -> None:
    """The record and the look-up after a lost reply know nothing of the kind."""
    further.faults.add("combined", "drop_after")
    task = combine(uploaded)

    assert task.run() == task.run()
    assert len(jobs(further)) == 1


def test_other_options_of_a_further_kind_are_another_purchase(
    further: EmulatorServer, uploaded: dict[str, Any]
) -> None:
    """A job with other options is not the answer to a lost reply."""
    combine(uploaded, instructions=3).run()
    further.faults.add("combined", "drop_before")

    with pytest.raises(PiktidSubmissionError, match="combination request with 3 image"):
        combine(uploaded).run()
    assert len(jobs(further)) == 1


def test_budget_counts_the_outputs_of_a_further_kind(
    further: EmulatorServer, uploaded: dict[str, Any]
) -> None:
    """Three images make two outputs here."""
    combine(uploaded, max_credits=2).run()
    with pytest.raises(AirflowFailException) as caught:
        combine(uploaded, max_credits=1, rerun_key="again").run()

    assert isinstance(caught.value.__cause__, PiktidBudgetError)
    assert len(jobs(further)) == 1


def test_manifest_names_all_images_of_a_combined_output(uploaded: dict[str, Any], tmp_path: Path) -> None:
    """No output overwrites another, and each row lists what its output was made from."""
    job_ids = combine(uploaded).run()
    download = PiktidDownloadOperator(
        task_id="download",
        job_ids=job_ids,
        images=uploaded["images"],
        output_path=str(tmp_path / "out"),
    )

    result = TaskRun(lambda: download).run()

    rows = json.loads(Path(result["manifest"].removeprefix("file://")).read_text())
    sources = [image["source"] for image in uploaded["images"]]
    assert [row["sources"] for row in rows] == [sources, sources]
    assert len({row["file"] for row in rows}) == 2
    assert all((tmp_path / "out" / row["file"]).is_file() for row in rows)
