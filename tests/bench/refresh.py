# SPDX-License-Identifier: Apache-2.0
"""The nightly refresh: a plan with tens of thousands of objects, and a whole run in Airflow."""

from __future__ import annotations

import json
import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from airflow_provider_piktid.get_provider_info import DEFAULT_JOBS_PER_MINUTE
from tests.bench.process import UNLIMITED, Meter, emulator, in_child
from tests.bench.rows import Row, at_most, told
from tests.support.s3 import CONNECTION_ID, connection_to, full_s3_server
from tests.support.stack import emulator_call

BUCKET = "shop"
SOURCE = f"s3://{CONNECTION_ID}@{BUCKET}/in"
OUTPUT = f"s3://{CONNECTION_ID}@{BUCKET}-out/out"

#: Beside plain listings of both buckets: the test server takes 0.25 ms of processor time for each object that it lists.
PLAN_OVER_LISTINGS = 1.3
PLAN_MEGABYTES = 200
#: Extra fields of a connection that switch the account limits off.
FREE = {"jobs_per_minute": 10_000, "active_jobs": 10_000}

NIGHT_IMAGES, NIGHT_JOB_SECONDS, NIGHT_ACTIVE_JOBS, NIGHT_OVER_BOUND = 500, 6.0, 5, 1.5


def run(*, quick: bool = False) -> list[Row]:
    """Measure; ``quick`` skips the run in Airflow and measures memory with 10,000 objects."""
    rows = _unchanged_and_changed(10_000) + _writing_ahead(NIGHT_IMAGES)
    rows += [] if quick else _memory(50_000)
    return rows if quick else rows + _whole_night()


def _unchanged_and_changed(count: int) -> list[Row]:
    with _stage(count) as url:
        listings: list[float] = []
        plan: dict[str, Any] = {}
        for _ in range(3):
            listings.append(in_child(__name__, "plain_listings", url=url)["seconds"])
            once = in_child(__name__, "plan_unchanged", url=url)
            plan = min(plan or once, once, key=lambda found: found["seconds"])
        requests = _requests(url)
        changed = in_child(__name__, "night_with_changes", url=url, extra=FREE, count=count // 100)
        bought = sum(len(job["images"]) for job in emulator_call(url, "ledger")["jobs"])
        uploads = _requests(url, "upload")
    what = f"{count} objects, {plan['unchanged']} unchanged, {plan['batches']} batches"
    each = f"{count // 100} of {count} changed, {changed['done']} outputs, {changed['seconds']:.1f} s in all"
    return [
        told("plan without changes", plan["seconds"], "s", what),
        at_most(
            "plan without changes, beside plain listings with boto3",
            plan["seconds"] / min(listings),
            PLAN_OVER_LISTINGS,
            "x",
            f"{min(listings):.1f} s -> {plan['seconds']:.1f} s, best of three",
        ),
        at_most("plan without changes, requests to PiktID", requests, 0, "", what),
        at_most("plan without changes, batches", plan["batches"], 0, "", what),
        at_most("plan, peak memory above bare Airflow", plan["megabytes"], PLAN_MEGABYTES, "MB", what),
        at_most("1 % changed, images bought too many", abs(bought - count // 100), 0, "", each),
        at_most("1 % changed, images uploaded too many", abs(uploads - count // 100), 0, "", each),
    ]


def _writing_ahead(count: int) -> list[Row]:
    """A night on S3 in one process, without limits. A real one takes longer: PiktID admits five jobs a minute."""
    with _stage(count) as url:
        night = in_child(__name__, "night_with_records", url=url, extra=FREE, count=count)
        jobs = len(emulator_call(url, "ledger")["jobs"])
    shortest = max(night["seconds"], 60.0 * jobs / DEFAULT_JOBS_PER_MINUTE)
    what = (
        f"{count} images, {jobs} jobs: {night['spent']:.1f} s; the night took {night['seconds']:.0f} s without limits, "
        f"and takes {shortest:.0f} s or more with those of an account"
    )
    return [
        at_most("records of paid requests, share of a night", 100 * night["spent"] / shortest, 5, "%", what),
        at_most("records of paid requests, writes for each job", night["writes"] / jobs, 2, "", what),
    ]


def _memory(count: int) -> list[Row]:
    with _stage(count) as url:
        plan = in_child(__name__, "plan_unchanged", url=url)
    what = f"{count} objects, in {plan['seconds']:.1f} s"
    return [at_most("plan, peak memory above bare Airflow", plan["megabytes"], PLAN_MEGABYTES, "MB", what)]


def _whole_night() -> list[Row]:
    """Five hundred images in fifty jobs, with scheduler, triggerer and LocalExecutor."""
    from tests.support.stack import AirflowStack, emulator_process
    from tests.system.conftest import TOKEN, connect, unscheduled

    example = Path(__file__).resolve().parents[2] / "example_dags" / "example_refresh.py"
    with tempfile.TemporaryDirectory() as home, ExitStack() as stack:
        source, output = _pictures(Path(home) / "in", NIGHT_IMAGES), Path(home) / "out"
        options = ("--token", TOKEN, "--fast-images", "--jobs-per-minute", "0", "--credits", "100000")
        pace = ("--job-seconds", str(NIGHT_JOB_SECONDS), "--active-jobs", str(NIGHT_ACTIVE_JOBS))
        url = stack.enter_context(emulator_process(*options, *pace))
        dag = unscheduled(example, Path(home))
        airflow = stack.enter_context(AirflowStack(Path(home) / "airflow", [dag], parallelism=4))
        connect(airflow, url, {"jobs_per_minute": 1000, "active_jobs": NIGHT_ACTIVE_JOBS})
        started = time.monotonic()
        conf = {"source": str(source), "output_path": str(output), "max_images": NIGHT_IMAGES}
        run_id = airflow.trigger("example_piktid_refresh", **conf, dry_run=False)
        state = airflow.wait_for_run("example_piktid_refresh", run_id, seconds=1500)
        seconds = time.monotonic() - started
        jobs = emulator_call(url, "ledger")["jobs"]
    images = [image for job in jobs for image in job["images"]]
    bound = -(-len(jobs) // NIGHT_ACTIVE_JOBS) * NIGHT_JOB_SECONDS
    what = f"{len(jobs)} jobs of {NIGHT_JOB_SECONDS:g} s, {NIGHT_ACTIVE_JOBS} at once: at least {bound:.0f} s; {state}"
    return [
        at_most("a whole night, images lost", NIGHT_IMAGES - len(set(images)), 0, "", what),
        at_most("a whole night, images doubled", len(images) - len(set(images)), 0, "", what),
        told("a whole night, makespan", seconds, "s", what),
        at_most("a whole night, over the bound", seconds / bound, NIGHT_OVER_BOUND, "x", what),
    ]


@contextmanager
def _stage(count: int) -> Iterator[str]:
    """Run an S3 server whose objects are all in the catalogue, and an emulator; yield the emulator's URL."""
    with full_s3_server(BUCKET, count) as endpoint, ExitStack() as stack:
        name = f"AIRFLOW_CONN_{CONNECTION_ID.upper()}"
        os.environ[name] = json.dumps(connection_to(endpoint))
        stack.callback(os.environ.pop, name)
        url = stack.enter_context(emulator("--job-seconds", "0.1", *UNLIMITED, latency_ms=0))
        in_child(__name__, "fill_catalogue", url=url)
        yield url


def _requests(url: str, operation: str | None = None) -> int:
    operations = emulator_call(url, "stats")["operations"]
    counts = {name: told["requests"] for name, told in operations.items()}
    return int(counts.get(operation, 0) if operation else sum(counts.values()))


def _pictures(folder: Path, count: int) -> Path:
    from PIL import Image

    for number in range(count):
        path = folder / f"{number % 10}" / f"p{number:03d}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        # Equal content would be bought once.
        Image.new("RGB", (64, 48), (number % 256, number // 256, 90)).save(path, comment=str(number))
    return folder


# -- in a separate process ----------------------------------------------------------------------------------


def fill_catalogue() -> dict[str, Any]:
    """Add every object to the catalogue as done, as an earlier run would have."""
    from airflow_provider_piktid.files import storage
    from airflow_provider_piktid.files.formats import V2_FORMATS
    from airflow_provider_piktid.files.search import find_images
    from airflow_provider_piktid.refresh.store import CatalogueStore
    from tests.support.catalogue import row

    rows = [
        row(
            file.relative,
            source=file.location.uri,
            source_version=file.version,
            source_sha256="0" * 64,
            source_size=file.size,
            source_modified=file.modified,
            file_id="00000000-0000-0000-0000-000000000000",
            job_id="job_00000000000000000000000000000000",
            file=f"{file.relative.removesuffix('.jpg')}_0_v1.jpg",
            size=0,
            sha256="0" * 64,
            credits=1.0,
        )
        for file in find_images(SOURCE, formats=V2_FORMATS)
    ]
    CatalogueStore(storage.locate(OUTPUT)).write("earlier", rows)
    return {"rows": len(rows)}


def plain_listings() -> dict[str, Any]:
    """List sources and outputs with boto3 alone, one after the other."""
    import boto3

    connection = json.loads(os.environ[f"AIRFLOW_CONN_{CONNECTION_ID.upper()}"])
    client = boto3.client(
        "s3",
        aws_access_key_id=connection["login"],
        aws_secret_access_key=connection["password"],
        **connection["extra"],
    )
    pages = client.get_paginator("list_objects_v2")
    with Meter() as meter:
        found = sum(
            page["KeyCount"] for bucket in (BUCKET, f"{BUCKET}-out") for page in pages.paginate(Bucket=bucket)
        )
    return meter.report(objects=found)


def plan_unchanged() -> dict[str, Any]:
    """Run the plan in a process that has imported only Airflow before."""
    import airflow.sdk  # noqa: F401 - what is there before anything of ours

    with Meter() as meter:
        night = _nights().begin()
    return meter.report(batches=len(night.batches), unchanged=night.planned["unchanged"])


def night_with_changes(count: int) -> dict[str, Any]:
    """Change some objects and run the whole refresh."""
    from airflow_provider_piktid.files import storage
    from airflow_provider_piktid.files.formats import V2_FORMATS
    from airflow_provider_piktid.files.search import find_images
    from tests.support.batch import JPEG

    for number, file in enumerate(find_images(SOURCE, formats=V2_FORMATS)[:count]):
        # A comment makes the content of each one different.
        comment = b"\xff\xfe\x00\x06" + number.to_bytes(4, "big")
        storage.write_bytes(file.location, JPEG[:2] + comment + JPEG[2:])
    with Meter() as meter:
        night = _nights().run()
    if night.errors:
        raise night.errors[0]
    return {"seconds": meter.seconds, "done": night.told["sources"]["done"]}


def night_with_records(count: int) -> dict[str, Any]:
    """Run a night in which some objects have changed, and measure what the records of paid requests cost."""
    from airflow_provider_piktid.common.records import ObjectRecords
    from airflow_provider_piktid.jobs.submission import JobRecord

    load, save = ObjectRecords.load, ObjectRecords.save
    spent, writes = 0.0, 0

    def timed_load(store: ObjectRecords[Any]) -> Any:
        nonlocal spent
        started = time.perf_counter()
        try:
            return load(store)
        finally:
            spent += time.perf_counter() - started

    def timed_save(store: ObjectRecords[Any], record: Any) -> None:
        nonlocal spent, writes
        started = time.perf_counter()
        save(store, record)
        spent += time.perf_counter() - started
        writes += isinstance(record, JobRecord)

    vars_of = {"load": timed_load, "save": timed_save}
    for name, function in vars_of.items():
        setattr(ObjectRecords, name, function)
    return night_with_changes(count) | {"spent": spent, "writes": writes}


def _nights() -> Any:
    from tests.support.refresh import Nights

    return Nights(SOURCE, OUTPUT)
