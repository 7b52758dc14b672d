# SPDX-License-Identifier: Apache-2.0
"""Uploads and downloads of the operators, compared with the documented examples that use ``requests``."""

from __future__ import annotations

import tempfile
import time
import uuid
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

from tests.bench.photos import photos
from tests.bench.process import UNLIMITED, Meter, emulator, in_child
from tests.bench.rows import Row, at_least, at_most

TIMES_FASTER = 6
MEGABYTES = 64
RUNS = 3
#: Extra fields of a connection without limits; with limits the submissions would take minutes.
FREE = {"jobs_per_minute": 10_000, "active_jobs": 10_000}


def run(*, quick: bool = False) -> list[Row]:
    """Measure; ``quick`` takes 12 large images instead of 40."""
    many, large = 200, (12 if quick else 40)
    with tempfile.TemporaryDirectory() as home:
        rows = _transfers(Path(home), many, 1_000_000)
        return rows + _large_upload(Path(home), large, 25_000_000)


def _transfers(home: Path, count: int, size: int) -> list[Row]:
    folder = photos(home / "many", count, size)
    with emulator("--job-seconds", "0.01", *UNLIMITED) as url:
        slow = in_child(__name__, "upload_as_documented", url=url, base=url, folder=str(folder))
        fast = _best(lambda number: in_child(__name__, "upload", url=url, folder=str(folder)))
        jobs = in_child(__name__, "swap", url=url, extra=FREE, **fast["uploaded"])["job_ids"]
        slow_down = in_child(
            __name__, "download_as_documented", base=url, jobs=jobs, folder=_made(home / "slow")
        )
        fast_down = _best(
            lambda number: in_child(
                __name__, "download", url=url, jobs=jobs, folder=str(home / f"fast{number}")
            )
        )
    if fast_down["files"] != count or slow_down["files"] != count:
        raise RuntimeError("files are missing after the download")
    what = f"{count} images of {size / 1e6:g} MB"
    return [
        at_least(
            "upload, times faster", slow["seconds"] / fast["seconds"], TIMES_FASTER, "x", _both(slow, fast)
        ),
        at_most("upload, peak memory grows by", fast["megabytes"], MEGABYTES, "MB", what),
        at_least(
            "download, times faster",
            slow_down["seconds"] / fast_down["seconds"],
            TIMES_FASTER,
            "x",
            _both(slow_down, fast_down),
        ),
        at_most("download, peak memory grows by", fast_down["megabytes"], MEGABYTES, "MB", what),
    ]


def _large_upload(home: Path, count: int, size: int) -> list[Row]:
    folder = photos(home / "large", count, size)
    with emulator("--job-seconds", "0.01", *UNLIMITED) as url:
        up = in_child(__name__, "upload", url=url, folder=str(folder))
        jobs = in_child(__name__, "swap", url=url, extra=FREE, **up["uploaded"])["job_ids"]
        down = in_child(__name__, "download", url=url, jobs=jobs, folder=str(home / "large-out"))
    what = f"{count} images of {size / 1e6:g} MB"
    return [
        at_most(
            "upload of large images, peak memory grows by",
            up["megabytes"],
            MEGABYTES,
            "MB",
            f"{what}, {up['seconds']:.1f} s",
        ),
        at_most(
            "download of large images, peak memory grows by",
            down["megabytes"],
            MEGABYTES,
            "MB",
            f"{what}, {down['seconds']:.1f} s",
        ),
    ]


def _best(measure: Callable[[int], dict[str, Any]]) -> dict[str, Any]:
    """
    Return the shortest time and the largest memory of several runs.

    A run takes two seconds, so that other load on the machine would distort it. The documented example takes
    ten times as long, waits most of the time, and is measured once.
    """
    runs = [measure(number) for number in range(RUNS)]
    return min(runs, key=lambda one: float(one["seconds"])) | {
        "megabytes": max(one["megabytes"] for one in runs)
    }


def _both(slow: dict[str, Any], fast: dict[str, Any]) -> str:
    return f"{slow['seconds']:.1f} s -> {fast['seconds']:.2f} s"


def _made(folder: Path) -> str:
    folder.mkdir()
    return str(folder)


# In separate processes -------------------------------------------------------------------------------------


def upload(folder: str) -> dict[str, Any]:
    """Run the upload operator."""
    from airflow_provider_piktid.operators.upload import PiktidUploadImagesOperator

    task = PiktidUploadImagesOperator(task_id="upload", images=folder, project_name=uuid.uuid4().hex)
    given, figures = _executed(task)
    return figures | {"uploaded": {"project": given["project_id"], "images": given["file_ids"]}}


def swap(project: str, images: list[str]) -> dict[str, Any]:
    """Create the results that are downloaded; not measured."""
    from airflow_provider_piktid.operators.model_swap import PiktidModelSwapOperator
    from tests.support.tasks import TaskRun

    def make() -> PiktidModelSwapOperator:
        return PiktidModelSwapOperator(
            task_id="swap", identity_code="PiktidSummer", project_id=project, images=images
        )

    return {"job_ids": TaskRun(make).run()}


def download(jobs: list[str], folder: str) -> dict[str, Any]:
    """Run the download operator."""
    from airflow_provider_piktid.operators.download import PiktidDownloadOperator

    task = PiktidDownloadOperator(task_id="download", job_ids=jobs, output_path=folder)
    given, figures = _executed(task)
    return figures | {"files": given["files"]}


def _executed(task: Any) -> tuple[Any, dict[str, Any]]:
    """
    Execute a task; return its result and its measurements.

    Late imports count for the memory but not for the time, as ``import requests`` does not count either.
    """
    with Meter() as memory:
        for name in ("tests.support.warm", "PIL.JpegImagePlugin"):
            import_module(name)
        started = time.perf_counter()
        given = task.execute({})
        seconds = time.perf_counter() - started
    return given, {"seconds": seconds, "megabytes": memory.megabytes}


def upload_as_documented(base: str, folder: str) -> dict[str, Any]:
    """Upload with the documented example."""
    import requests

    token, name = "piktid-emulator", uuid.uuid4().hex
    headers = {"Authorization": "Bearer " + token}
    paths = sorted(Path(folder).iterdir())
    with Meter() as meter:
        requests.post(base + "/project", headers=headers, json={"project_name": name})
        for path in paths:
            ticket = requests.post(
                base + "/upload", headers=headers, json={"project_name": name, "filename": path.name}
            ).json()
            with path.open("rb") as file:
                put = requests.put(
                    ticket["upload_url"], headers={"Content-Type": ticket["content_type"]}, data=file.read()
                )
            put.raise_for_status()
    return meter.report()


def download_as_documented(base: str, jobs: list[str], folder: str) -> dict[str, Any]:
    """Download the results with the documented example."""
    import requests

    headers = {"Authorization": "Bearer piktid-emulator"}
    files = 0
    with Meter() as meter:
        for job_id in jobs:
            answer = requests.get(base + f"/jobs/{job_id}/results", headers=headers).json()
            for result in answer["results"]:
                content = requests.get(result["url"])
                content.raise_for_status()
                with (Path(folder) / f"{files:04d}.jpg").open("wb") as out:
                    out.write(content.content)
                files += 1
    return meter.report(files=files)
