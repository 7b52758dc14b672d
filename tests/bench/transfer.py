# SPDX-License-Identifier: Apache-2.0
"""
Uploads and downloads of the operators, beside plain streams, beside PiktID's documents, and on a slow line.

Other programs may use the processors meanwhile, so each figure is the median of pairs: ours beside the plain
streams of the same round.
"""

from __future__ import annotations

import json
import tempfile
import time
import urllib.request
import uuid
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from statistics import median
from typing import Any

from tests.bench.photos import photos
from tests.bench.process import UNLIMITED, Meter, emulator, in_child
from tests.bench.rows import Row, at_least, at_most, told
from tests.support.line import SlowLine

PLAIN = "tests.bench.plain"
#: Throughput beside eight plain streams.
UPLOAD, CHECKSUM, DECODED = 0.9, 0.9, 0.8
MEGABYTES = 64
ROUNDS = 5
#: The slow line: seconds, bytes per second, and the throughput beside plain streams on it.
ROUND_TRIP, BANDWIDTH, LINE = 0.1, 20e6, 0.9
#: Extra fields of a connection without limits; with limits the submissions would take minutes.
FREE = {"jobs_per_minute": 10_000, "active_jobs": 10_000}

Times = dict[str, list[dict[str, Any]]]


def run(*, quick: bool = False) -> list[Row]:
    """Measure; ``quick`` takes fewer rounds and fewer large images."""
    with tempfile.TemporaryDirectory() as home:
        rows = _transfers(Path(home), 200, 1_000_000, 3 if quick else ROUNDS)
        rows += _slow_line(Path(home), 200, 1_000_000)
        return rows + _large_upload(Path(home), 12 if quick else 40, 25_000_000)


def _transfers(home: Path, count: int, size: int, rounds: int) -> list[Row]:
    folder = photos(home / "many", count, size)
    with emulator("--job-seconds", "0.01", *UNLIMITED) as url:
        uploaded = in_child(__name__, "upload", url=url, folder=str(folder))["uploaded"]
        jobs = in_child(__name__, "swap", url=url, extra=FREE, **uploaded)["job_ids"]

        def fetch(kind: str, number: int) -> dict[str, Any]:
            target = str(home / f"{kind}{number}")
            if kind.startswith("plain"):
                Path(target).mkdir()
                return in_child(PLAIN, "download", base=url, jobs=jobs, folder=target)
            _set_variant(url, "checksum", "etag" if kind == "checksum" else "none")
            return in_child(__name__, "download", url=url, jobs=jobs, folder=target)

        def send(kind: str, number: int) -> dict[str, Any]:
            if kind == "plain":
                return in_child(PLAIN, "upload", base=url, folder=str(folder))
            return in_child(__name__, "upload", url=url, folder=str(folder))

        fetch("checksum", -1)  # The emulator computes each checksum once.
        down = _rounds(fetch, ["plain", "checksum", "plain again", "decoded"], rounds)
        up = _rounds(send, ["plain", "ours"], rounds)
        documents = _as_documented(home, url, jobs, folder)
    if any(one["files"] != count for runs in down.values() for one in runs):
        raise RuntimeError("files are missing after the download")
    what = f"{count} images of {size / 1e6:g} MB"
    return [
        _beside("upload", up["plain"], up["ours"], UPLOAD),
        _beside("download with a checksum", down["plain"], down["checksum"], CHECKSUM),
        _beside("download, decoded", down["plain again"], down["decoded"], DECODED),
        _faster("upload", documents["upload"], up["ours"]),
        _faster("download with a checksum", documents["download"], down["checksum"]),
        _faster("download, decoded", documents["download"], down["decoded"]),
        _grows("upload", up["ours"], what),
        _grows("download", down["checksum"] + down["decoded"], what),
    ]


def _rounds(measure: Callable[[str, int], dict[str, Any]], kinds: list[str], rounds: int) -> Times:
    """Measure each kind in each round, in both orders by turns, so that no kind always follows another."""
    times: Times = {kind: [] for kind in kinds}
    for number in range(rounds):
        for kind in kinds if number % 2 == 0 else reversed(kinds):
            times[kind].append(measure(kind, number))
    return times


def _as_documented(home: Path, url: str, jobs: list[str], folder: Path) -> dict[str, dict[str, Any]]:
    """Run PiktID's own examples once: they take ten times as long, and wait most of the time."""
    return {
        "upload": in_child(__name__, "upload_as_documented", url=url, base=url, folder=str(folder)),
        "download": in_child(
            __name__, "download_as_documented", base=url, jobs=jobs, folder=_made(home / "documented")
        ),
    }


def _slow_line(home: Path, count: int, size: int) -> list[Row]:
    folder = photos(home / "slow", count, size)
    least = sum(path.stat().st_size for path in folder.iterdir()) / BANDWIDTH
    with (
        emulator("--job-seconds", "0.01", *UNLIMITED, latency_ms=0) as url,
        SlowLine(url, round_trip=ROUND_TRIP, bandwidth=BANDWIDTH) as line,
    ):
        up = in_child(__name__, "upload", url=line.url, folder=str(folder))
        plain_up = in_child(PLAIN, "upload", base=line.url, folder=str(folder))
        jobs = in_child(__name__, "swap", url=url, extra=FREE, **up["uploaded"])["job_ids"]
        down = in_child(__name__, "download", url=line.url, jobs=jobs, folder=str(home / "slow-out"))
        target = _made(home / "slow-plain")
        plain_down = in_child(PLAIN, "download", base=line.url, jobs=jobs, folder=target)
    what = f"{ROUND_TRIP * 1000:g} ms, {BANDWIDTH / 1e6:g} MB/s; the line itself takes {least:.1f} s"
    return [
        _beside("upload on a slow line", [plain_up], [up], LINE, what),
        told("upload on a slow line, share of it", least / up["seconds"], "x"),
        _beside("download on a slow line", [plain_down], [down], LINE, what),
        told("download on a slow line, share of it", least / down["seconds"], "x"),
    ]


def _set_variant(url: str, name: str, value: str) -> None:
    body = json.dumps({name: value}).encode()
    with urllib.request.urlopen(f"{url}/_emulator/variants", data=body, timeout=30):
        pass


def _beside(
    name: str, plain: list[dict[str, Any]], ours: list[dict[str, Any]], bound: float, what: str = ""
) -> Row:
    """Return the median of the ratios of each round."""
    ratios = [one["seconds"] / other["seconds"] for one, other in zip(plain, ours, strict=True)]
    shown = ", ".join(f"{ratio:.2f}" for ratio in sorted(ratios))
    detail = f"{_seconds(plain):.2f} s -> {_seconds(ours):.2f} s; rounds {shown}"
    detail += f"; {what}" if what else ""
    return at_least(f"{name}, throughput of plain streams", median(ratios), bound, "x", detail)


def _faster(name: str, documented: dict[str, Any], ours: list[dict[str, Any]]) -> Row:
    detail = f"{documented['seconds']:.1f} s -> {_seconds(ours):.2f} s"
    return told(
        f"{name}, times faster than the documents", documented["seconds"] / _seconds(ours), "x", detail
    )


def _grows(name: str, runs: list[dict[str, Any]], what: str) -> Row:
    most = max(one["megabytes"] for one in runs)
    return at_most(f"{name}, peak memory grows by", most, MEGABYTES, "MB", what)


def _seconds(runs: list[dict[str, Any]]) -> float:
    return median(float(one["seconds"]) for one in runs)


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
