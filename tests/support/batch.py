# SPDX-License-Identifier: Apache-2.0
"""A model swap batch: uploaded images, an operator, and the jobs that the emulator counted."""

from __future__ import annotations

import io
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from PIL import Image

from airflow_provider_piktid.client import PiktidClient
from airflow_provider_piktid.emulator import EmulatorServer
from airflow_provider_piktid.models.model_swap import ModelSwap
from airflow_provider_piktid.operators.model_swap import PiktidModelSwapOperator
from tests.support.tasks import TaskRun


def _jpeg() -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (16, 16), "orange").save(buffer, "JPEG")
    return buffer.getvalue()


#: A valid image, because downloads are decoded; with ``transform=False`` the emulator returns it unchanged.
JPEG = _jpeg()


def uploaded(server: EmulatorServer, count: int, project: str = "shoot") -> tuple[str, list[str]]:
    """Upload small images; return the project id and their file ids."""
    with PiktidClient("piktid-emulator", base_url=server.url) as client:
        project_id = client.ensure_project(project).project_id
        return project_id, [client.upload_image(f"{i}.jpg", JPEG).file_id for i in range(count)]


def buy(server: EmulatorServer, images: int = 1, **options: Any) -> str:
    """Submit a model swap without an operator; return the job id."""
    project_id, files = uploaded(server, images)
    wanted: dict[str, Any] = {"identity_code": "PiktidSummer", "project_id": project_id}
    with PiktidClient("piktid-emulator", base_url=server.url) as client:
        return client.create_job(ModelSwap(**(wanted | options)), files).job_id


def swap_run(server: EmulatorServer, images: int | list[str] = 1, **arguments: Any) -> TaskRun:
    """Return a task instance of a model swap; upload the images if only their number is given."""
    project_id = "unset"
    if isinstance(images, int):
        project_id, images = uploaded(server, images)
    fixed: dict[str, Any] = {
        "task_id": "swap",
        "identity_code": "PiktidSummer",
        "project_id": project_id,
        "images": images,
        "poll_interval": 3.0,
        "timeout": 30.0,
        "lost_reply_grace": 0.3,
    }
    return TaskRun(lambda: PiktidModelSwapOperator(**(fixed | arguments)))


def jobs(server: EmulatorServer) -> list[dict[str, Any]]:
    """Every job that was bought, in order."""
    return server.state.ledger()


def bought_by_content(server: EmulatorServer) -> Counter[bytes]:
    """How often each image was bought, by its content."""
    counts: Counter[bytes] = Counter()
    for job in jobs(server):
        for file_id in job["images"]:
            blob = server.state.v2.files[file_id].blob
            assert blob is not None
            counts[blob.path.read_bytes()] += 1
    return counts


@contextmanager
def after_status(server: EmulatorServer, end: Callable[[str], object], job_id: str) -> Iterator[None]:
    """Call ``end`` with the job once a status has been asked for within the block."""
    left = threading.Event()
    counted = server.state.counters.statuses
    before = counted["job_status", 200]

    def wait() -> None:
        while counted["job_status", 200] == before:
            if left.wait(0.01):
                return
        end(job_id)

    thread = threading.Thread(target=wait)
    thread.start()
    try:
        yield
    finally:
        left.set()
        thread.join()
