# SPDX-License-Identifier: Apache-2.0
"""A paid task in a loop of Airflow 3.4."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from airflow_provider_piktid.emulator import EmulatorServer
from tests.dags.test_examples import dag_bag
from tests.support.batch import jobs, uploaded

pytest.importorskip("airflow.sdk.definitions.loop", reason="loops came with Airflow 3.4")

LOOPS = Path(__file__).parent / "loops"
BUNDLE = {"name": "loops", "classpath": "airflow.dag_processing.bundles.local.LocalDagBundle"}


@pytest.mark.parametrize("keeps_files", [False, True], ids=["task state store", "state_path"])
def test_each_iteration_of_a_loop_buys_a_job_of_its_own(
    server: EmulatorServer,
    airflow_db: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    *,
    keeps_files: bool,
) -> None:
    """The second iteration does not take up the record of the first one, although their arguments are equal."""
    monkeypatch.setenv(
        "AIRFLOW__DAG_PROCESSOR__DAG_BUNDLE_CONFIG_LIST",
        json.dumps([BUNDLE | {"kwargs": {"path": str(LOOPS)}}]),
    )
    if keeps_files:
        monkeypatch.setenv("AIRFLOW__PIKTID__STATE_PATH", str(tmp_path))
    project_id, images = uploaded(server, 2)

    (dag,) = dag_bag(LOOPS / "looped.py").dags.values()
    run = dag.test(run_conf={"project_id": project_id, "images": images})

    assert run.state == "success"
    assert len(jobs(server)) == 2
    assert len(list(tmp_path.iterdir())) == (2 if keeps_files else 0)
