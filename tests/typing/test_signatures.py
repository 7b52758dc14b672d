# SPDX-License-Identifier: Apache-2.0
"""
The public signatures as a user's type checker sees them.

mypy checks this file with ``make types``: a changed return type fails ``assert_type``, and an argument that is no
longer refused makes its ``type: ignore`` unused, which is an error in strict mode. Nothing here has to run.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Any, assert_type

from airflow_provider_piktid.client import AsyncPiktidClient, PiktidClient, PiktidV1Client, verify_signature
from airflow_provider_piktid.emulator import EmulatorServer, Settings
from airflow_provider_piktid.exceptions import PiktidAPIError, PiktidError, PiktidJobError
from airflow_provider_piktid.hooks.piktid import PiktidHook, PiktidSettings
from airflow_provider_piktid.models import GalleryJob, Job, JobCreated, JobResults, Project, UploadTicket
from airflow_provider_piktid.models.model_swap import ModelSwap
from airflow_provider_piktid.operators.download import PiktidDownloadOperator
from airflow_provider_piktid.operators.generate_person import PiktidGeneratePersonOperator
from airflow_provider_piktid.operators.identity import PiktidUploadIdentityOperator
from airflow_provider_piktid.operators.model_swap import PiktidModelSwapOperator
from airflow_provider_piktid.operators.regenerate import PiktidRegenerateOperator
from airflow_provider_piktid.operators.upload import PiktidUploadImagesOperator
from airflow_provider_piktid.refresh import read_rows
from airflow_provider_piktid.sensors.job import PiktidJobSensor
from airflow_provider_piktid.triggers.generate_person import PiktidGeneratePersonTrigger
from airflow_provider_piktid.triggers.job import PiktidJobTrigger, PiktidSlotTrigger


def hook() -> None:
    made = PiktidHook("piktid_default")
    assert_type(made.settings, PiktidSettings)
    assert_type(made.get_conn(), PiktidClient)
    assert_type(made.get_v1_client(), PiktidV1Client)
    assert_type(made.test_connection(), tuple[bool, str])
    PiktidHook(7)  # type: ignore[arg-type]


def sync_client(client: PiktidClient) -> None:
    swap = ModelSwap(identity_code="PiktidSummer", project_id="p", num_variations=2)
    assert_type(client.ensure_project("spring"), Project)
    assert_type(client.upload_image("a.jpg", b""), UploadTicket)
    assert_type(client.create_job(swap, ["f"], wait=False), JobCreated)
    assert_type(client.get_job("j"), Job)
    assert_type(client.get_job_results("j"), JobResults)
    assert_type(client.iter_gallery_jobs(project_id="p"), Iterator[GalleryJob])
    client.create_job("model_swap", ["f"])  # type: ignore[arg-type]
    ModelSwap(identity_code="x", num_variations="2")  # type: ignore[arg-type]
    assert_type(verify_signature("secret", b"", None), bool)


async def async_client(client: AsyncPiktidClient) -> None:
    swap = ModelSwap(identity_code="PiktidSummer", project_id="p")
    assert_type(await client.create_job(swap, ["f"]), JobCreated)
    assert_type(client.iter_gallery_jobs(), AsyncIterator[GalleryJob])


def operators() -> None:
    PiktidUploadImagesOperator(task_id="upload", images="s3://b/in/", project_name="spring")
    PiktidUploadIdentityOperator(task_id="face", image="face.jpg", wait_for_preprocessing=True)
    PiktidModelSwapOperator(
        task_id="swap",
        identity_code="PiktidSummer",
        project_id="p",
        images=["f"],
        deferrable=True,
        on_lost_reply="resubmit",
        rerun_key="spring",
    )
    PiktidRegenerateOperator(task_id="repair", job_ids=["j"], images=[{"image_index": 0}])
    PiktidGeneratePersonOperator(task_id="person", image="a.jpg", keywords=["Oceania"], persons=[0])
    PiktidDownloadOperator(task_id="download", job_ids=["j"], output_path="s3://b/out/", archive=True)
    PiktidJobSensor(task_id="wait", job_id="j")
    PiktidModelSwapOperator(task_id="swap", identity_code=7)  # type: ignore[arg-type]
    PiktidDownloadOperator(task_id="download", job_ids=["j"], output_path=None)  # type: ignore[arg-type]


def triggers() -> None:
    PiktidJobTrigger(["j"], piktid_conn_id="c", end_time=1.0, resume_state={"k": "v"})
    PiktidSlotTrigger([], until_job_ends=True)
    PiktidGeneratePersonTrigger([], resume_at=1.0)
    PiktidJobTrigger(["j"], poll_interval="10")  # type: ignore[arg-type]


def errors(error: PiktidError) -> None:
    assert_type(error.permanent, bool)
    if isinstance(error, PiktidAPIError):
        assert_type(error.status, int)
    if isinstance(error, PiktidJobError):
        assert_type(error.job_ids, tuple[str, ...])


def refresh_and_emulator() -> None:
    assert_type(read_rows("s3://b/out/"), list[dict[str, Any]])
    with EmulatorServer(Settings(job_seconds=0.1)) as server:
        assert_type(server.url, str)


def test_signatures_are_checked_by_the_type_checker() -> None:
    """The module imports: the type checker does the rest."""
    assert callable(hook)
