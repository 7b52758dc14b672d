# SPDX-License-Identifier: Apache-2.0
"""The example DAGs can be parsed without a connection and run with ``dag.test()``."""

from __future__ import annotations

import json
from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from airflow import __version__ as airflow_version
from airflow.providers.common.compat.sdk import BaseHook

from airflow_provider_piktid.client import PiktidClient
from airflow_provider_piktid.emulator import EmulatorServer
from airflow_provider_piktid.models.model_swap import ModelSwap
from tests.conftest import EXAMPLE_DAGS
from tests.support.batch import buy, jobs, uploaded
from tests.support.service import picture

HAS_ASSETS = find_spec("airflow.sdk") is not None
AIRFLOW = tuple(int(part) for part in airflow_version.split(".")[:2])
EXAMPLES = sorted(path.stem for path in EXAMPLE_DAGS.glob("example_*.py"))
#: On Airflow 2 their import says what they need.
ONLY_AIRFLOW_3 = {"example_job_events"}
#: Without approvals, which Airflow has from 3.1 on, these files have no DAG.
NEED_APPROVALS = {"example_approval"}
HAS_APPROVALS = AIRFLOW >= (3, 1) and find_spec("airflow.providers.standard.operators.hitl") is not None
Shoot = Callable[..., Path]


def dag_bag(path: Path = EXAMPLE_DAGS) -> Any:
    try:
        module = import_module("airflow.dag_processing.dagbag")
    except ImportError:  # before 3.2
        module = import_module("airflow.models.dagbag")
    return module.DagBag(str(path))


def run_example(name: str, **params: Any) -> Any:
    """Run an example with ``dag.test()``; return its successful DAG run."""
    (dag,) = dag_bag(EXAMPLE_DAGS / f"{name}.py").dags.values()
    run = dag.test(run_conf=params)
    assert run.state == "success", {ti.task_id: ti.state for ti in run.get_task_instances()}
    return run


def outputs(folder: Path) -> list[str]:
    """The images below a folder, as relative paths."""
    return sorted(
        path.relative_to(folder).as_posix() for path in folder.rglob("*.jpg") if "_piktid" not in path.parts
    )


def sources(folder: Path) -> list[str]:
    """The sources in the manifests below a folder, as folder and file name."""
    rows = [row for path in folder.rglob("manifest-*.json") for row in json.loads(path.read_text())]
    assert {row["status"] for row in rows} == {"done"}
    return sorted("/".join(Path(row["source"]).parts[-2:]) for row in rows)


@pytest.fixture
def lookups(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The connection ids that were looked up; every lookup fails."""
    asked: list[str] = []

    def get_connection(conn_id: str) -> Any:
        asked.append(conn_id)
        raise LookupError(conn_id)

    monkeypatch.delenv("AIRFLOW_CONN_PIKTID_DEFAULT", raising=False)
    monkeypatch.setattr(BaseHook, "get_connection", get_connection)
    return asked


def test_examples_parse_without_a_connection(lookups: list[str]) -> None:
    """All example files are parsed without an error and without a connection lookup."""
    bag = dag_bag()

    refused = {Path(path).stem: text for path, text in bag.import_errors.items()}
    assert set(refused) == (set() if HAS_ASSETS else ONLY_AIRFLOW_3), refused
    assert len(bag.dags) == len(EXAMPLES) - len(refused) - (0 if HAS_APPROVALS else len(NEED_APPROVALS))
    assert lookups == []


def test_examples_say_what_to_look_at_and_describe_their_parameters() -> None:
    """Airflow shows each example's docs beside it, and a description of each parameter in the trigger form."""
    for dag in dag_bag().dags.values():
        assert "What to look at" in (dag.doc_md or ""), dag.dag_id
        assert [name for name in dag.params if not dag.params.get_param(name).description] == [], dag.dag_id


@pytest.mark.skipif(not HAS_ASSETS, reason="Airflow 2 does not load it")
def test_job_events_example_started_by_hand_downloads_the_given_jobs(
    connected: EmulatorServer, tmp_path: Path
) -> None:
    """Without an event, the jobs of the form are downloaded."""
    job_id = buy(connected)
    connected.state.complete_job(job_id)

    run_example("example_job_events", job_ids=[job_id], output_path=str(tmp_path / "out"))

    assert len(outputs(tmp_path / "out")) == 1


def test_model_swap_example_mirrors_the_source_folders(
    connected: EmulatorServer, shoot: Shoot, tmp_path: Path
) -> None:
    """Four images in two folders become four outputs in two folders, bought as one job."""
    run_example(
        "example_model_swap", images=str(shoot("look-1", "look-2")), output_path=str(tmp_path / "out")
    )

    assert len(outputs(tmp_path / "out")) == 4
    assert sources(tmp_path / "out") == [
        "look-1/back.jpg",
        "look-1/front.jpg",
        "look-2/back.jpg",
        "look-2/front.jpg",
    ]
    assert {Path(name).parts[0] for name in outputs(tmp_path / "out")} == {"look-1", "look-2"}
    assert len(jobs(connected)) == 1


def test_mapped_example_runs_one_task_per_folder(
    connected: EmulatorServer, shoot: Shoot, tmp_path: Path
) -> None:
    """Each folder is processed by mapped tasks whose label in the UI is the folder's name."""
    run = run_example(
        "example_mapped", root=str(shoot("shirts", "dresses")), output_path=str(tmp_path / "out")
    )

    labels = {ti.rendered_map_index for ti in run.get_task_instances() if ti.task_id == "upload"}
    assert labels == {"shirts", "dresses"}
    assert len(jobs(connected)) == 2
    assert len(outputs(tmp_path / "out")) == 4
    assert sources(tmp_path / "out") == [
        "dresses/back.jpg",
        "dresses/front.jpg",
        "shirts/back.jpg",
        "shirts/front.jpg",
    ]


def test_identity_example_swaps_the_uploaded_face(
    connected: EmulatorServer, shoot: Shoot, tmp_path: Path
) -> None:
    """The uploaded face becomes an identity, and the job uses it."""
    face = picture(tmp_path / "anna.jpg", color="salmon")

    run_example(
        "example_identity", face=str(face), images=str(shoot("look")), output_path=str(tmp_path / "out")
    )

    (job,) = jobs(connected)
    assert job["identity_code"] not in ("PiktidSummer", "PiktidPremium")
    assert len(outputs(tmp_path / "out")) == 2


def test_sensor_example_downloads_an_existing_job(connected: EmulatorServer, tmp_path: Path) -> None:
    """A job that is known by its id is awaited and downloaded, and nothing is bought."""
    project_id, images = uploaded(connected, 2)
    with PiktidClient("piktid-emulator", base_url=connected.url) as client:
        swap = ModelSwap(identity_code="PiktidSummer", project_id=project_id)
        job_id = client.create_job(swap, images).job_id

    run_example("example_sensor", job_id=job_id, output_path=str(tmp_path / "out"))

    assert len(outputs(tmp_path / "out")) == 2
    assert len(jobs(connected)) == 1


def test_regenerate_example_regenerates_a_failed_image(
    connected: EmulatorServer, shoot: Shoot, tmp_path: Path
) -> None:
    """An image that failed in the swap is regenerated, and every output is downloaded."""
    connected.faults.add("job", "fail_image", indices=[1])

    run_example("example_regenerate", images=str(shoot("look")), output_path=str(tmp_path / "out"))

    assert connected.faults.all_met()
    assert len(outputs(tmp_path / "out")) == 2
