# SPDX-License-Identifier: Apache-2.0
"""Run the example DAG once, on real photographs, and check what came out."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

from airflow_provider_piktid.demo.stage import (
    DemoError,
    airflow,
    airflow_environment,
    photographs,
    print_end,
    service,
)

DAG_ID = "example_piktid_model_swap"
WORK = Path(".piktid-demo")
SUFFIXES = (".jpg", ".jpeg", ".png")


def run(dags: Path, images: Path | None, output: Path, identity: str) -> int:
    """Run the batch; 0 if every photograph has a result that is there and differs from it."""
    if images is not None and not images.is_dir():
        raise DemoError(f"there is no folder {images}")
    WORK.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="airflow-", dir=WORK) as home, service() as connection:
        source = images or photographs(WORK / "photographs")
        count = sum(path.suffix.lower() in SUFFIXES for path in source.rglob("*") if path.is_file())
        print(f"images:    {count} in {source}")
        environment = airflow_environment(Path(home), dags) | connection
        log = WORK / "airflow.log"
        params = {
            "images": str(source.resolve()),
            "output_path": str(output.resolve()),
            "identity_code": identity,
            "project": "piktid-demo",
        }
        print(f"airflow:   running {DAG_ID}, log in {log}")
        log.unlink(missing_ok=True)
        airflow(["db", "migrate"], environment, log)
        airflow(["dags", "test", DAG_ID, "--conf", json.dumps(params)], environment, log)
        return report(output, source, log)


def report(output: Path, source: Path, log: Path) -> int:
    """Print where everything is; 1 if anything is missing."""
    manifests = sorted((output / "_piktid").glob("manifest-*.json"), key=lambda path: path.stat().st_mtime)
    if not manifests:
        print_end(log)
        raise DemoError(f"the DAG run left no manifest in {output}")
    rows = json.loads(manifests[-1].read_text())
    print(f"results:   {output}")
    missing = [row for row in rows if not _is_good(output, row)]
    for row in rows:
        size = f"{row['size'] / 1000:.0f} kB" if row["size"] else row["error"]
        print(f"           {row['file']}  {size}  ({row['model_used'] or 'engine not told'})")
    credits = {row["job_id"]: row["job_credits_used"] or 0 for row in rows}
    print(f"manifest:  {manifests[-1]}")
    print(f"credits:   {sum(credits.values()):g}")
    done = {row["source"].removeprefix("file://") for row in rows if row not in missing and row["source"]}
    wanted = {str(path.resolve()) for path in source.rglob("*") if path.suffix.lower() in SUFFIXES}
    lost = sorted(wanted - done) + [str(row["file"]) for row in missing]
    if lost:
        print_end(log)
        raise DemoError(f"{len(lost)} photograph(s) without a result: {', '.join(lost[:5])}")
    return 0


def _is_good(output: Path, row: dict[str, Any]) -> bool:
    """Whether a row's file is there, whole, and another picture than its source."""
    from PIL import Image, ImageChops

    if row["status"] != "done" or not (output / row["file"]).is_file():
        return False
    with Image.open(output / row["file"]) as result:
        result.load()
        if not row["source"]:
            return True
        with Image.open(row["source"].removeprefix("file://")) as original:
            small = [picture.convert("RGB").resize((64, 64)) for picture in (result, original)]
    histogram = ImageChops.difference(*small).convert("L").histogram()
    return any(histogram[32:])
