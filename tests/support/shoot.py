# SPDX-License-Identifier: Apache-2.0
"""Images whose swap has ended, ready for download."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from airflow_provider_piktid.client import PiktidClient
from airflow_provider_piktid.emulator import EmulatorServer
from airflow_provider_piktid.models.model_swap import ModelSwap
from airflow_provider_piktid.operators.download import PiktidDownloadOperator
from airflow_provider_piktid.operators.upload import PiktidUploadImagesOperator
from tests.support.service import picture
from tests.support.tasks import TaskRun


class Shoot:
    """Images in a folder that are uploaded and swapped; the jobs have ended."""

    def __init__(self, server: EmulatorServer, folder: Path, *names: str, **options: Any) -> None:
        self.server = server
        for number, name in enumerate(names):
            picture(folder / name, size=(16 + number, 16))
        upload = PiktidUploadImagesOperator(task_id="upload", images=str(folder), project_name="spring")
        self.uploaded = TaskRun(lambda: upload).run()
        self.images: list[dict[str, str]] = self.uploaded["images"]
        self.job_id = self.swap(**options)

    def swap(self, **options: Any) -> str:
        """Submit a job of all images and complete it."""
        job = ModelSwap(identity_code="PiktidSummer", project_id=self.uploaded["project_id"], **options)
        with PiktidClient("piktid-emulator", base_url=self.server.url) as client:
            job_id = client.create_job(job, self.uploaded["file_ids"]).job_id
        self.server.state.complete_job(job_id)
        return job_id

    def download(self, out: Path | str, **arguments: Any) -> dict[str, Any]:
        """Run the download operator once and return its result."""
        fixed: dict[str, Any] = {
            "task_id": "download",
            "job_ids": [self.job_id],
            "output_path": str(out),
            "images": self.images,
        }
        result: dict[str, Any] = TaskRun(lambda: PiktidDownloadOperator(**(fixed | arguments))).run()
        return result

    def link_part(self, index: int) -> str:
        """The part of a result's link that identifies it."""
        return str(self.server.state.v2.jobs.get(self.job_id).outputs[index].uuid)

    def fetched(self) -> int:
        """The number of requests for output files so far."""
        return self.server.state.counters.requests["result_image"]


def files(out: Path) -> list[str]:
    """Every file below a folder except the manifest, including hidden files."""
    found = [str(path.relative_to(out)) for path in out.rglob("*") if not path.is_dir()]
    return sorted(name for name in found if not name.startswith("_piktid/manifest-"))


def manifest(out: Path) -> list[dict[str, Any]]:
    (path,) = (out / "_piktid").iterdir()
    rows: list[dict[str, Any]] = json.loads(path.read_bytes())
    return rows
