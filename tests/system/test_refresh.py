# SPDX-License-Identifier: Apache-2.0
"""Three runs of the refresh example in a running Airflow, from bucket to bucket on a local S3 server."""

from __future__ import annotations

import io
import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image, ImageChops, ImageOps

from airflow_provider_piktid.demo.pictures import photographs
from airflow_provider_piktid.files import storage
from airflow_provider_piktid.refresh import read_rows
from tests.support.s3 import SECRET, bucket_in, connection_id_of, connection_to, put, s3_server
from tests.support.stack import AirflowStack, emulator_call, quoted
from tests.system.conftest import Emulate, store_connection

pytest.importorskip("s3fs")
pytest.importorskip("moto.server")

pytestmark = [pytest.mark.slow, pytest.mark.stack, pytest.mark.filterwarnings("default")]

DAG = "example_piktid_refresh"
DOWNSTREAM = "example_piktid_refresh_downstream"


@pytest.fixture
def bucket(airflow: AirflowStack, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[str]:
    """A bucket with photographs below ``in/``; its connection is stored in the metadata database."""
    with s3_server() as endpoint, bucket_in(endpoint, monkeypatch) as uri:
        told = connection_to(endpoint)
        store_connection(airflow, connection_id_of(endpoint), told | {"extra": json.dumps(told["extra"])})
        shoot = photographs(tmp_path / "shoot")
        for path in shoot.rglob("*.jpg"):
            put(f"{uri}/in/{path.relative_to(shoot).as_posix()}", path.read_bytes())
        yield uri


def night(airflow: AirflowStack, bucket: str) -> tuple[str, str]:
    """Run the example once; return its run id and final state."""
    run = airflow.trigger(
        DAG, source=f"{bucket}/in", output_path=f"{bucket}/out", max_images=500, dry_run=False
    )
    return run, airflow.wait_for_run(DAG, run, seconds=180)


def states(airflow: AirflowStack, run: str, task: str) -> Counter[str | None]:
    return Counter(airflow.task_states(DAG, run, f"piktid_refresh.{task}"))


def bought(url: str) -> list[int]:
    return [len(job["images"]) for job in emulator_call(url, "ledger")["jobs"]]


def opened(uri: str) -> Image.Image:
    place = storage.locate(uri)
    return Image.open(io.BytesIO(place.fs.cat_file(place.path)))


def differs(first: Image.Image, second: Image.Image) -> bool:
    small = [picture.convert("RGB").resize((64, 64)) for picture in (first, second)]
    return any(ImageChops.difference(*small).convert("L").histogram()[32:])


def xcom(airflow: AirflowStack, dag: str, run: str, task: str, key: str = "return_value") -> Any:
    answer = airflow.get(f"dags/{dag}/dagRuns/{quoted(run)}/taskInstances/{task}/xcomEntries/{key}")
    value = answer["value"]
    return json.loads(value) if isinstance(value, str) and value[:1] in "[{" else value


def test_three_runs_of_the_example(airflow: AirflowStack, emulate: Emulate, bucket: str) -> None:
    """
    The first run buys every image, the second none, and the third the changed one.

    The downstream DAG runs after the first and the third run only.
    """
    url = emulate("--job-seconds", "2", images_per_job=2, active_jobs=1)

    first, ended = night(airflow, bucket)
    assert ended == "success"
    assert (sorted(bought(url)), states(airflow, first, "batch.collect")) == ([1, 2], {"success": 2})
    rows = read_rows(f"{bucket}/out")
    assert [row["status"] for row in rows] == ["done"] * 3
    for row in rows:
        assert differs(opened(row["source"]), opened(f"{bucket}/out/{row['file']}"))
    assert_downstream_read(airflow, sorted(row["file"] for row in rows), runs=1)

    second, ended = night(airflow, bucket)
    assert (ended, len(bought(url))) == ("success", 2)
    assert states(airflow, second, "batch.upload") == states(airflow, second, "summary") == {"skipped": 1}

    changed = opened(f"{bucket}/in/look-1/front.jpg")
    content = io.BytesIO()
    ImageOps.mirror(changed.convert("RGB")).save(content, "JPEG")
    put(f"{bucket}/in/look-1/front.jpg", content.getvalue())
    third, ended = night(airflow, bucket)
    assert (ended, sum(bought(url)), states(airflow, third, "batch.upload")) == ("success", 4, {"success": 1})
    assert_downstream_read(airflow, ["look-1/front_0_v0.jpg"], runs=2)

    link = airflow.get(f"dags/{DAG}/dagRuns/{quoted(third)}/taskInstances/piktid_refresh.summary/links")[
        "extra_links"
    ]["Contact sheet"]
    assert link.startswith("/piktid-contact-sheet/dags/example_piktid_refresh/runs/")
    assert SECRET not in "".join(airflow.all_logs().values())


def assert_downstream_read(airflow: AirflowStack, files: list[str], *, runs: int) -> None:
    """Wait for the DAG that is scheduled on the asset, and check which files it read."""

    def woken() -> list[dict[str, Any]]:
        found = airflow.get(f"dags/{DOWNSTREAM}/dagRuns?order_by=-run_after")["dag_runs"]
        return [run for run in found if run["state"] == "success"]

    airflow.wait(lambda: len(woken()) >= runs, "the DAG behind the asset", seconds=60)
    assert len(woken()) == runs
    assert sorted(xcom(airflow, DOWNSTREAM, woken()[0]["dag_run_id"], "publish")) == files
