# SPDX-License-Identifier: Apache-2.0
"""The refresh examples run with ``dag.test()``."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from airflow import __version__ as airflow_version

from airflow_provider_piktid.emulator import EmulatorServer
from airflow_provider_piktid.refresh import read_rows
from tests.conftest import EXAMPLE_DAGS
from tests.dags.test_examples import dag_bag, outputs
from tests.support.batch import jobs
from tests.support.fixtures import Start
from tests.support.service import picture

Shoot = Callable[..., Path]

pytest.importorskip("s3fs", reason="the examples' asset is one of Amazon's provider")


def night(name: str, **params: Any) -> Any:
    """Run an example once; return its DAG run."""
    (dag,) = dag_bag(EXAMPLE_DAGS / f"{name}.py").dags.values()
    if airflow_version.startswith("3.0."):
        activate_outlets(dag)
    return dag.test(run_conf={"dry_run": False, **params})


def activate_outlets(dag: Any) -> None:
    """Store the outlets of a DAG as active, as the DAG processor does: ``dag.test()`` of 3.0 refuses others."""
    from airflow.models.asset import AssetActive, AssetModel
    from airflow.utils.session import create_session

    outlets = {(asset.name, asset.uri) for task in dag.tasks for asset in task.outlets}
    with create_session() as session:
        for name, uri in outlets:
            if session.get(AssetActive, (name, uri)) is None:
                if session.query(AssetModel).filter_by(name=name, uri=uri).first() is None:
                    session.add(AssetModel(name=name, uri=uri, group="asset"))
                    session.flush()
                session.add(AssetActive(name=name, uri=uri))


def states(run: Any) -> dict[str, Counter[str]]:
    """Count the states of each task."""
    found: dict[str, Counter[str]] = {}
    for ti in run.get_task_instances():
        found.setdefault(ti.task_id.removeprefix("piktid_refresh."), Counter())[str(ti.state)] += 1
    return found


def test_three_runs_buy_all_then_nothing_then_one(
    start: Start, shoot: Shoot, tmp_path: Path, airflow_db: Path
) -> None:
    """The first run buys every image, the second maps no task, and the third buys the changed image."""
    server = start(extra={"images_per_job": 2, "active_jobs": 1})
    source, output = shoot("shirts", "shoes"), tmp_path / "out"
    folders = {"source": str(source), "output_path": str(output)}

    first = night("example_refresh", **folders)
    assert (first.state, states(first)["batch.collect"]) == ("success", {"success": 2})
    assert (len(outputs(output)), len(jobs(server))) == (4, 2)

    second = night("example_refresh", **folders)
    assert (second.state, states(second)["batch.upload"], len(jobs(server))) == ("success", {"skipped": 1}, 2)

    picture(source / "shoes" / "front.jpg", color="red")
    third = night("example_refresh", **folders)
    assert (third.state, states(third)["batch.upload"]) == ("success", {"success": 1})
    assert [len(job["images"]) for job in jobs(server)] == [2, 2, 1]


def test_failed_batch_does_not_stop_the_others(
    start: Start, shoot: Shoot, tmp_path: Path, airflow_db: Path
) -> None:
    """If one upload fails, the other batch succeeds, and the next run buys the rest."""
    server = start(extra={"images_per_job": 2, "active_jobs": 1})
    folders = {"source": str(shoot("shirts", "shoes")), "output_path": str(tmp_path / "out")}
    server.faults.add("upload", "status", code=400)

    first = night("example_refresh", **folders)
    seen = states(first)
    assert seen["batch.upload"] == {"success": 1, "failed": 1}
    assert seen["batch.swap"] == {"success": 1, "upstream_failed": 1}
    assert seen["batch.collect"] == {"success": 1, "skipped": 1}
    assert seen["summary"] == {"success": 1}

    assert night("example_refresh", **folders).state == "success"
    assert {row["status"] for row in read_rows(folders["output_path"])} == {"done"}
    assert sum(len(job["images"]) for job in jobs(server)) == 4


def test_failed_plan_fails_the_run(server: EmulatorServer, tmp_path: Path, airflow_db: Path) -> None:
    """If the plan fails, the summary and the DAG run fail, and nothing is bought."""
    run = night("example_refresh", source=str(tmp_path / "none"), output_path=str(tmp_path / "out"))

    assert (run.state, states(run)["summary"]) == ("failed", {"failed": 1})
    assert jobs(server) == []


def test_dry_run_buys_nothing(server: EmulatorServer, shoot: Shoot, tmp_path: Path, airflow_db: Path) -> None:
    """With the param ``dry_run`` the example buys nothing and writes nothing."""
    run = night(
        "example_refresh", source=str(shoot("shirts")), output_path=str(tmp_path / "out"), dry_run=True
    )

    assert (run.state, jobs(server), (tmp_path / "out").exists()) == ("success", [], False)


def test_each_identity_has_its_own_outputs(
    server: EmulatorServer, shoot: Shoot, tmp_path: Path, airflow_db: Path
) -> None:
    """The same images are swapped once with each identity, into separate folders."""
    folders = {"source": str(shoot("shirts")), "output_path": str(tmp_path / "out")}

    night("example_refresh_identities", **folders)
    night("example_refresh_identities", **folders)

    assert {Path(name).parts[0] for name in outputs(tmp_path / "out")} == {"PiktidSummer", "PiktidPremium"}
    assert Counter(job["identity_code"] for job in jobs(server)) == {"PiktidSummer": 1, "PiktidPremium": 1}


def test_looks_example_buys_each_changed_folder_as_one_job(
    server: EmulatorServer, shoot: Shoot, tmp_path: Path, airflow_db: Path
) -> None:
    """Each folder of flat lays is one job and one output; a folder with a changed photograph is bought again."""
    source = shoot("17", "18")
    folders = {"source": str(source), "output_path": str(tmp_path / "out")}

    assert night("example_refresh_looks", **folders).state == "success"
    assert night("example_refresh_looks", **folders).state == "success"
    assert [len(job["images"]) for job in jobs(server)] == [2, 2]
    picture(source / "17" / "front.jpg", color="red")
    third = night("example_refresh_looks", **folders)

    assert (third.state, states(third)["batch.jobs"]) == ("success", {"success": 1})
    assert [len(job["images"]) for job in jobs(server)] == [2, 2, 2]
    assert outputs(tmp_path / "out") == ["17_0-0_v0.jpg", "18_0-0_v0.jpg"]


def test_garments_example_refreshes_two_types_side_by_side(
    server: EmulatorServer, shoot: Shoot, tmp_path: Path, airflow_db: Path
) -> None:
    """Each photograph is recoloured, and has two packshots in another folder; a second night buys nothing."""
    folders = {"source": str(shoot("look")), "output_path": str(tmp_path / "out")}

    for _ in range(2):
        assert night("example_refresh_garments", **folders).state == "success"

    assert Counter(job["job_type"] for job in jobs(server)) == {"garment_recolor": 1, "create_packshot": 2}
    assert Counter(Path(name).parts[0] for name in outputs(tmp_path / "out")) == {
        "recoloured": 2,
        "packshots": 4,
    }
