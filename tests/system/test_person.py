# SPDX-License-Identifier: Apache-2.0
"""Generated persons in a running Airflow, with a real photograph."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from airflow_provider_piktid.demo.pictures import differs, two_persons
from tests.support.stack import AirflowStack, emulator_call, quoted
from tests.system.conftest import TOKEN, Emulate

pytestmark = [pytest.mark.slow, pytest.mark.stack]


def paid(url: str) -> int:
    return len(emulator_call(url, "ledger")["generations"])


def test_persons_are_generated_once_after_the_triggerer_is_killed(
    airflow: AirflowStack, emulate: Emulate, tmp_path: Path
) -> None:
    """After the triggerer is killed during the wait, a new one completes the run and buys nothing."""
    url = emulate("--generate-seconds", "6", "--mask-seconds", "0")
    photograph = two_persons(tmp_path / "persons.jpg")
    run = airflow.trigger("person", image=str(photograph), output_path=str(tmp_path / "out"))
    airflow.wait(
        lambda: paid(url) == 4,
        "four paid requests",
        progress=lambda: (airflow.progress("person", run), paid(url)),
    )
    airflow.wait_for_state("person", run, "generate", "deferred")
    airflow.kill("triggerer")
    airflow.start("triggerer")
    assert airflow.wait_for_run("person", run) == "success"

    files = sorted((tmp_path / "out").glob("*_person*.jpg"))
    assert len(files) == 4
    assert all(differs(path, photograph) for path in files)
    assert paid(url) == 4
    path = f"dags/person/dagRuns/{quoted(run)}/taskInstances/generate/xcomEntries"
    kept = [
        json.dumps(airflow.get(f"{path}/{entry['key']}?stringify=true"))
        for entry in airflow.get(path)["xcom_entries"]
    ]
    assert len(kept) >= 3
    assert not [text for text in kept if TOKEN in text or f"{url}/f/" in text]
    assert not [path for path, text in airflow.all_logs().items() if f"{url}/f/" in text]
