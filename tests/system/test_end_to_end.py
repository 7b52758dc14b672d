# SPDX-License-Identifier: Apache-2.0
"""The example DAG in a running Airflow, with real photographs."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from PIL import Image, ImageChops

from airflow_provider_piktid.demo.pictures import photographs
from tests.support.stack import AirflowStack, emulator_call, quoted
from tests.system.conftest import TOKEN, Emulate

pytestmark = [pytest.mark.slow, pytest.mark.stack]

DAG = "example_piktid_model_swap"
#: What identifies a signed link, in the formats of different services.
SIGNED = re.compile(r"Signature=|[?&]sig=|[?&]Expires=|X-Amz-Credential|/download/[\w-]{16,}", re.IGNORECASE)


def begin(airflow: AirflowStack, folder: Path) -> str:
    shoot = photographs(folder / "shoot")
    return airflow.trigger(DAG, images=str(shoot), output_path=str(folder / "out"))


def manifest(folder: Path) -> list[dict[str, Any]]:
    (path,) = (folder / "out" / "_piktid").glob("manifest-*.json")
    rows: list[dict[str, Any]] = json.loads(path.read_text())
    return rows


def differs(first: Path, second: Path) -> bool:
    """Whether two images differ visibly."""
    with Image.open(first) as one, Image.open(second) as other:
        small = [picture.convert("RGB").resize((64, 64)) for picture in (one, other)]
    return any(ImageChops.difference(*small).convert("L").histogram()[32:])


def test_batch_waits_without_a_worker_slot(airflow: AirflowStack, emulate: Emulate, tmp_path: Path) -> None:
    """While the swap is deferred the only worker slot is free, and another DAG runs in it."""
    url = emulate("--job-seconds", "8")
    airflow.call("PATCH", "pools/default_pool?update_mask=slots", {"name": "default_pool", "slots": 1})
    try:
        run = begin(airflow, tmp_path)
        airflow.wait_for_state(DAG, run, "swap", "deferred")
        assert airflow.get("pools/default_pool")["occupied_slots"] == 0
        other = airflow.trigger("one_slot")
        assert airflow.wait_for_run("one_slot", other, seconds=30) == "success"
        assert airflow.task_states(DAG, run, "swap") == ["deferred"]
        assert airflow.wait_for_run(DAG, run) == "success"
    finally:
        airflow.call("PATCH", "pools/default_pool?update_mask=slots", {"name": "default_pool", "slots": 128})

    rows = manifest(tmp_path)
    assert [row["status"] for row in rows] == ["done"] * 3
    for row in rows:
        assert differs(tmp_path / "out" / row["file"], Path(row["source"].removeprefix("file://")))
    assert len(emulator_call(url, "ledger")["jobs"]) == 1


def test_no_xcom_link_or_log_contains_a_secret(
    airflow: AirflowStack, emulate: Emulate, tmp_path: Path
) -> None:
    """XCom, the job link and all logs contain neither the token nor a signed link."""
    url = emulate("--job-seconds", "2")
    run = begin(airflow, tmp_path)
    assert airflow.wait_for_run(DAG, run) == "success"
    (job,) = emulator_call(url, "ledger")["jobs"]
    path = f"dags/{DAG}/dagRuns/{quoted(run)}/taskInstances"

    kept = {
        task: airflow.get(f"{path}/{task}/xcomEntries")["xcom_entries"]
        for task in ("upload", "swap", "download")
    }
    values = [
        airflow.get(f"{path}/{task}/xcomEntries/{entry['key']}?stringify=true")
        for task in kept
        for entry in kept[task]
    ]
    assert len(values) >= 8
    for text in map(json.dumps, values):
        assert TOKEN not in text
        assert not SIGNED.search(text)
    assert airflow.get(f"{path}/swap/links")["extra_links"] == {"PiktID job": f"{url}/#{job['job_id']}"}
    logs = airflow.task_logs()
    assert any(job["job_id"] in text for text in logs.values())
    for path_, text in airflow.all_logs().items():
        assert TOKEN not in text, path_
        assert not SIGNED.search(text), (path_, SIGNED.search(text))


def test_killed_triggerer_is_replaced_during_the_wait(
    airflow: AirflowStack, emulate: Emulate, tmp_path: Path
) -> None:
    """After the triggerer is killed during the wait, a new one completes the run, and one job is bought."""
    url = emulate("--job-seconds", "8")
    run = begin(airflow, tmp_path)
    airflow.wait_for_state(DAG, run, "swap", "deferred")
    airflow.wait(lambda: _streams(url) >= 1, "the trigger to listen")

    airflow.kill("triggerer")
    airflow.start("triggerer")

    assert airflow.wait_for_run(DAG, run) == "success"
    assert len(manifest(tmp_path)) == 3
    assert len(emulator_call(url, "ledger")["jobs"]) == 1


def _streams(url: str) -> int:
    return int(emulator_call(url, "stats")["operations"].get("events", {}).get("requests", 0))
