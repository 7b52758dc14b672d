# SPDX-License-Identifier: Apache-2.0
"""Refresh a small catalogue on three nights, and print what each night bought and spared."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from airflow_provider_piktid.demo.environment import (
    WORK,
    DagRunner,
    DemoError,
    dag_runner,
    has_own_service,
    service,
)
from airflow_provider_piktid.demo.pictures import catalogue, retouch
from airflow_provider_piktid.demo.progress import step

DAG_ID = "example_piktid_refresh"
TASKS = "piktid_refresh"


def run(dags: Path, output: Path, identity: str) -> None:
    """
    Run the refresh example three times, and print the counts of each run and where its contact sheet is.

    :raises DemoError: A run failed.
    """
    WORK.mkdir(exist_ok=True)
    source, target = WORK / "catalogue", output / "refresh"
    shutil.rmtree(source, ignore_errors=True)
    if not has_own_service():
        # The catalogue of an earlier demo would spare everything in the first night; emulated outputs cost nothing.
        shutil.rmtree(target, ignore_errors=True)
    log = WORK / "airflow-refresh.log"
    params = {
        "source": str(catalogue(source).resolve()),
        "output_path": str(target.resolve()),
        "identity_code": identity,
        "dry_run": False,
    }
    with service() as variables, dag_runner(dags, variables, log) as runner:
        print(f"catalogue: 6 photographs in {source}; Airflow's log is {log}", flush=True)
        _night(runner, params, log, "night 1", "all photographs are new")
        _night(runner, params, log, "night 2", "nothing has changed")
        _change(source)
        _night(runner, params, log, "night 3", "one photograph has changed, one is renamed, one is spoiled")
    print(f"outputs:   {target}; open the contact sheets above in a browser")


def _change(source: Path) -> None:
    retouch(source / "look-1" / "front.jpg")
    renamed = source / "look-2" / "front.jpg"
    renamed.rename(renamed.with_name("front-new.jpg"))
    spoiled = source / "look-3" / "front.jpg"
    spoiled.write_bytes(spoiled.read_bytes()[:5000])


def _night(runner: DagRunner, params: dict[str, Any], log: Path, name: str, text: str) -> None:
    with step(name, text, log):
        summaries = runner.run(DAG_ID, params)
    if not summaries:
        raise DemoError("this demo needs Airflow 3")
    for line in report(summaries[f"{TASKS}.plan"], summaries[f"{TASKS}.summary"]):
        print(f"{'':<11}{line}", flush=True)


def report(planned: dict[str, Any], total: dict[str, Any]) -> list[str]:
    """Return what a night bought and spared, a line each."""
    copied = f", {planned['reused']} copied under a new name" if planned["reused"] else ""
    lines = [
        f"bought:   {planned['images']} of {planned['listed']}, for {total['credits'] or 0:g} credits",
        f"spared:   {planned['unchanged']} unchanged{copied}",
    ]
    if planned["rejected"]:
        lines.append(f"rejected: {planned['rejected']}, no credits spent; the sheet says why")
    if total["contact_sheet"]:
        lines.append(f"sheet:    {total['contact_sheet']}")
    return lines
