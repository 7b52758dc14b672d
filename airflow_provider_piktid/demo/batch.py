# SPDX-License-Identifier: Apache-2.0
"""Run the model swap example once, on real photographs, and check the results."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from airflow_provider_piktid.demo.environment import WORK, DemoError, print_end, run_dag, service
from airflow_provider_piktid.demo.pictures import SUFFIXES, differs, photographs

DAG_ID = "example_piktid_model_swap"


def run(dags: Path, images: Path | None, output: Path, identity: str) -> None:
    """
    Run the batch and print what it wrote.

    :raises DemoError: The run failed, or a photograph has no result that differs from it.
    """
    if images is not None and not images.is_dir():
        raise DemoError(f"image folder not found: {images}")
    WORK.mkdir(exist_ok=True)
    log = WORK / "airflow.log"
    with service() as connection:
        source = images or photographs(WORK / "photographs")
        print(f"images:    {len(_pictures(source))} in {source}")
        params = {
            "images": str(source.resolve()),
            "output_path": str(output.resolve()),
            "identity_code": identity,
            "project": "piktid-demo",
        }
        run_dag(DAG_ID, params, dags, connection, log)
        report(output, source, log)


def report(output: Path, source: Path, log: Path) -> None:
    """
    Print the results, the manifest and the credits.

    :raises DemoError: A photograph has no result.
    """
    manifests = sorted((output / "_piktid").glob("manifest-*.json"), key=lambda path: path.stat().st_mtime)
    if not manifests:
        print_end(log)
        raise DemoError(f"the DAG run wrote no manifest to {output}")
    rows = json.loads(manifests[-1].read_text())
    print(f"results:   {output}")
    for row in rows:
        size = f"{row['size'] / 1000:.0f} kB" if row["size"] else row["error"]
        print(f"           {row['file']}  {size}  ({row['model_used'] or 'model not reported'})")
    credits = {row["job_id"]: row["job_credits_used"] or 0 for row in rows}
    print(f"manifest:  {manifests[-1]}")
    print(f"credits:   {sum(credits.values()):g}")
    missing = [row for row in rows if not _is_good(output, row)]
    done = {row["source"].removeprefix("file://") for row in rows if row not in missing and row["source"]}
    wanted = {str(path.resolve()) for path in _pictures(source)}
    lost = sorted(wanted - done) + [str(row["file"]) for row in missing]
    if lost:
        print_end(log)
        raise DemoError(f"{len(lost)} photograph(s) without a result: {', '.join(lost[:5])}")


def _pictures(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES and path.is_file()]


def _is_good(output: Path, row: dict[str, Any]) -> bool:
    """Return whether the file of a row exists and, if its source is known, differs from it."""
    result = output / row["file"]
    if row["status"] != "done" or not result.is_file():
        return False
    return not row["source"] or differs(result, Path(row["source"].removeprefix("file://")))
