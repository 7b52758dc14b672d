# SPDX-License-Identifier: Apache-2.0
"""What holds for a model swap holds for every type of job: paid once, waited for, downloaded."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException

from airflow_provider_piktid.emulator import EmulatorServer
from airflow_provider_piktid.exceptions import PiktidBudgetError, PiktidConfigError, PiktidSubmissionError
from airflow_provider_piktid.operators.base import JobOperator
from airflow_provider_piktid.operators.download import PiktidDownloadOperator
from airflow_provider_piktid.operators.flat_to_model import PiktidFlatToModelOperator
from airflow_provider_piktid.operators.identity import PiktidCreateIdentityOperator
from airflow_provider_piktid.operators.packshot import PiktidPackshotOperator
from airflow_provider_piktid.operators.recolor import PiktidGarmentRecolorOperator
from airflow_provider_piktid.operators.regenerate import PiktidRegenerateOperator
from airflow_provider_piktid.operators.upload import PiktidUploadImagesOperator
from airflow_provider_piktid.sensors.job import PiktidJobSensor
from tests.operators.test_paid_once import SURVIVED, Fault, plan
from tests.support.batch import jobs
from tests.support.service import picture
from tests.support.tasks import TaskRun

pytestmark = pytest.mark.usefixtures("fast_polls")

#: Operator, its arguments, outputs of three images, and the price of one output.
TYPES: dict[str, tuple[type[JobOperator], dict[str, Any], int, float]] = {
    "flat_2_model": (
        PiktidFlatToModelOperator,
        {
            "identity_code": "PiktidSummer",
            "instructions": [{"options": {"size": "1K"}}, {"options": {"size": "1K"}}],
        },
        2,
        3.0,
    ),
    "create_packshot": (
        PiktidPackshotOperator,
        {
            "instructions": [
                {"style": "free", "options": {"size": "1K"}},
                {"style": "flat_lay", "options": {"size": "1K"}, "num_variations": "2"},
            ]
        },
        3,
        3.0,
    ),
    "garment_recolor": (
        PiktidGarmentRecolorOperator,
        {"reference_text": "red", "num_variations": "2"},
        6,
        5.0,
    ),
    "identity_creation": (
        PiktidCreateIdentityOperator,
        {
            "instructions": [
                {"prompt": "a", "options": {"size": "1K"}},
                {"hair": {"color": "red"}, "options": {"size": "1K"}, "num_variations": "2"},
            ]
        },
        3,
        3.0,
    ),
}
#: Types whose jobs are not made of images.
WITHOUT_IMAGES = ("identity_creation",)
#: What happens to the request of a job, by the table of the swap.
LOST = {name: fault for name, fault in SURVIVED.items() if fault.operation == "model_swap"}
EACH = pytest.mark.parametrize("word", TYPES)
PATHS = pytest.mark.parametrize("deferrable", [True, False], ids=["deferrable", "sync"])


@pytest.fixture
def uploaded(server: EmulatorServer, tmp_path: Path) -> dict[str, Any]:
    """Three uploaded images."""
    for name in ("front.jpg", "back.jpg", "detail.jpg"):
        picture(tmp_path / "in" / name)
    upload = PiktidUploadImagesOperator(task_id="upload", images=str(tmp_path / "in"), project_name="looks")
    result: dict[str, Any] = TaskRun(lambda: upload).run()
    return result


def work(word: str, uploaded: dict[str, Any], **changes: Any) -> TaskRun:
    operator, arguments, _, _ = TYPES[word]
    fixed: dict[str, Any] = {
        "task_id": "work",
        "poll_interval": 0.3,
        "timeout": 30.0,
        "lost_reply_grace": 0.3,
    }
    if word not in WITHOUT_IMAGES:
        fixed |= {"project_id": uploaded["project_id"], "images": uploaded["file_ids"]}
    return TaskRun(lambda: operator(**(fixed | arguments | changes)))


@EACH
@PATHS
def test_job_is_submitted_and_waited_for(
    server: EmulatorServer, uploaded: dict[str, Any], word: str, deferrable: bool
) -> None:
    """Three images, or none where the type takes none, are one job; the summary counts its outputs and credits."""
    task = work(word, uploaded, deferrable=deferrable)

    result = task.run()

    (job,) = jobs(server)
    _, _, outputs, price = TYPES[word]
    images = [] if word in WITHOUT_IMAGES else uploaded["file_ids"]
    assert (job["job_type"], job["images"], result) == (word, images, [job["job_id"]])
    summary = task.ti.xcom["summary"]
    assert (summary["images"], summary["successful"], summary["missing"]) == (len(images), outputs, 0)
    assert summary["credits_used"] == outputs * price


@EACH
@PATHS
@pytest.mark.parametrize("fault", LOST.values(), ids=LOST)
def test_hostile_answer_is_survived_by_the_first_try(
    server: EmulatorServer, uploaded: dict[str, Any], word: str, fault: Fault, deferrable: bool
) -> None:
    """Whatever happens to the request, as for a swap: the first try succeeds, and one job is bought."""
    task = work(word, uploaded, deferrable=deferrable)
    plan(server, replace(fault, operation=word))

    result = task.run()

    assert server.faults.all_met()
    assert result == [job["job_id"] for job in jobs(server)]
    assert len(jobs(server)) == 1


@EACH
def test_retry_without_a_record_attaches_to_the_job(
    server: EmulatorServer, uploaded: dict[str, Any], word: str
) -> None:
    """Where no record can be kept, a retry finds the job in PiktID's list."""
    task = work(word, uploaded)
    task.store = None

    assert task.run() == task.run()
    assert len(jobs(server)) == 1


@EACH
def test_request_that_never_arrived_fails_by_default(
    server: EmulatorServer, uploaded: dict[str, Any], word: str
) -> None:
    """A lost reply without a listed job is not submitted again, and the error says how to."""
    server.faults.add(word, "drop_before")

    with pytest.raises(PiktidSubmissionError, match="on_lost_reply='resubmit'"):
        work(word, uploaded).run()
    assert jobs(server) == []


@EACH
def test_lost_reply_and_retry_pay_once(server: EmulatorServer, uploaded: dict[str, Any], word: str) -> None:
    """After a lost reply the job is found at PiktID, and a retry attaches to it."""
    server.faults.add(word, "drop_after")
    task = work(word, uploaded)

    assert task.run() == task.run()
    assert len(jobs(server)) == 1


@EACH
def test_job_with_other_options_is_not_the_answer_to_a_lost_reply(
    server: EmulatorServer, uploaded: dict[str, Any], word: str
) -> None:
    """A job of the same images with another engine is somebody else's."""
    work(word, uploaded, model="seedream").run()
    server.faults.add(word, "drop_before")

    with pytest.raises(PiktidSubmissionError):
        work(word, uploaded).run()
    assert len(jobs(server)) == 1


@EACH
def test_budget_uses_the_known_price(server: EmulatorServer, uploaded: dict[str, Any], word: str) -> None:
    """``max_credits`` is compared with outputs times the price that PiktID states."""
    _, _, outputs, price = TYPES[word]

    with pytest.raises(AirflowFailException) as caught:
        work(word, uploaded, max_credits=outputs * price - 1).run()
    assert isinstance(caught.value.__cause__, PiktidBudgetError)
    assert jobs(server) == []

    work(word, uploaded, max_credits=outputs * price).run()
    assert len(jobs(server)) == 1


@EACH
def test_refused_request_fails_without_a_retry(
    server: EmulatorServer, uploaded: dict[str, Any], word: str
) -> None:
    """A request that PiktID refuses as invalid is permanent, and nothing was paid."""
    server.faults.add(word, "status", code=422, body={"error": "Invalid request", "detail": []})

    with pytest.raises(AirflowFailException, match="Invalid request"):
        work(word, uploaded).run()
    assert jobs(server) == []


@EACH
def test_every_output_is_downloaded_under_a_name_of_its_own(
    uploaded: dict[str, Any], tmp_path: Path, word: str
) -> None:
    """No output overwrites another, and each manifest row says what its output was made of."""
    job_ids = work(word, uploaded).run()
    download = PiktidDownloadOperator(
        task_id="download", job_ids=job_ids, images=uploaded["images"], output_path=str(tmp_path / "out")
    )

    result = TaskRun(lambda: download).run()

    rows = json.loads(Path(result["manifest"].removeprefix("file://")).read_text())
    _, _, outputs, _ = TYPES[word]
    sources = [image["source"] for image in uploaded["images"]]
    assert len({row["file"] for row in rows}) == outputs
    assert all((tmp_path / "out" / row["file"]).is_file() for row in rows)
    if word in WITHOUT_IMAGES:
        assert [row["sources"] for row in rows] == [[]] * outputs
    elif word == "garment_recolor":
        assert sorted(row["source"] for row in rows) == sorted(sources * 2)
    else:
        assert [row["sources"] for row in rows] == [sources] * outputs


@EACH
def test_failed_output_is_made_again(server: EmulatorServer, uploaded: dict[str, Any], word: str) -> None:
    """The regenerate operator takes jobs of every type."""
    server.faults.add("job", "fail_image", indices=[0])
    job_ids = work(word, uploaded).run()
    again = PiktidRegenerateOperator(task_id="again", job_ids=job_ids, poll_interval=0.3, timeout=120.0)

    TaskRun(lambda: again).run()

    (job,) = server.state.v2.jobs.all()
    assert {output.status for output in job.newest()} == {"completed"}


@EACH
def test_sensor_waits_for_the_job(uploaded: dict[str, Any], word: str) -> None:
    """The sensor takes jobs of every type."""
    job_ids = work(word, uploaded, wait_for_completion=False).run()
    sensor = PiktidJobSensor(task_id="wait", job_id=job_ids[0], poke_interval=3.0, timeout=120.0)

    TaskRun(lambda: sensor).run()


@pytest.mark.parametrize("word", ["flat_2_model", "create_packshot"])
def test_reuse_is_refused_where_images_are_combined(
    server: EmulatorServer, uploaded: dict[str, Any], tmp_path: Path, word: str
) -> None:
    """``reuse`` is per image and cannot say who bought a combination."""
    task = work(word, uploaded, reuse=True, images=uploaded["images"], state_path=str(tmp_path / "state"))

    with pytest.raises(AirflowFailException, match="combines its images") as caught:
        task.run()
    assert isinstance(caught.value.__cause__, PiktidConfigError)
    assert jobs(server) == []


@pytest.mark.parametrize(
    ("word", "changes", "told"),
    [
        pytest.param("flat_2_model", {"instructions": [{"promt": "a"}]}, "did you mean 'prompt'", id="typo"),
        pytest.param("flat_2_model", {"identity_code": "PiktidWinter"}, "no identity", id="unknown identity"),
        pytest.param("create_packshot", {"instructions": [{"style": "fancy"}]}, "white_cutout", id="style"),
        pytest.param("garment_recolor", {"reference_text": None}, "what to recolour to", id="no target"),
        pytest.param(
            "garment_recolor", {"reference_image": "no-such-file"}, "reference_image", id="reference"
        ),
    ],
)
def test_bad_input_costs_nothing(
    server: EmulatorServer, uploaded: dict[str, Any], word: str, changes: dict[str, Any], told: str
) -> None:
    """The error names what to change."""
    with pytest.raises(AirflowFailException, match=told):
        work(word, uploaded, **changes).run()
    assert jobs(server) == []


@pytest.mark.parametrize("word", ["flat_2_model", "create_packshot"])
def test_combined_job_takes_ten_images(server: EmulatorServer, uploaded: dict[str, Any], word: str) -> None:
    """More than ten images are not split, as all of them belong together."""
    with pytest.raises(AirflowFailException, match="11 file ids, a job takes 10"):
        work(word, uploaded, images=[f"file-{number}" for number in range(11)]).run()
    assert jobs(server) == []
