# SPDX-License-Identifier: Apache-2.0
"""Run the example of generated persons once, on a real photograph, and check the results."""

from __future__ import annotations

import shutil
from pathlib import Path

from airflow_provider_piktid.demo.environment import WORK, DemoError, print_end, run_dag, service
from airflow_provider_piktid.demo.pictures import SUFFIXES, differs, two_persons

DAG_ID = "example_piktid_generate_person"
KEYWORDS = 3


def run(dags: Path, images: Path | None, output: Path) -> None:
    """
    Run the DAG and print what it wrote.

    :raises DemoError: The run failed, or a result is missing or does not differ from the photograph.
    """
    WORK.mkdir(exist_ok=True)
    photograph = own_photograph(images) if images is not None else two_persons(WORK / "persons.jpg")
    target = output / "persons"
    log = WORK / "airflow-person.log"
    # Results of an earlier run would hide that this run wrote none.
    shutil.rmtree(target, ignore_errors=True)
    with service() as connection:
        print(f"image:     {photograph}")
        params = {
            "image": str(photograph.resolve()),
            "output_path": str(target.resolve()),
            "persons": "all" if images is not None else "[0, 1]",
        }
        run_dag(DAG_ID, params, dags, connection, log)
        report(target, photograph, log, persons=None if images is not None else 2)


def own_photograph(images: Path) -> Path:
    """Return the first photograph of a folder, or the file itself."""
    if images.is_file():
        return images
    found = sorted(path for path in images.rglob("*") if path.suffix.lower() in (*SUFFIXES, ".webp"))
    if not found:
        raise DemoError(f"no photograph found in {images}")
    return found[0]


def report(target: Path, photograph: Path, log: Path, *, persons: int | None) -> None:
    """
    Print the results.

    :raises DemoError: A result is missing, or does not differ from the photograph.
    """
    files = sorted(path for path in target.glob("*_person*") if path.is_file())
    print(f"results:   {target}")
    for path in files:
        print(f"           {path.name}  {path.stat().st_size / 1000:.0f} kB")
    same = [path.name for path in files if not differs(path, photograph)]
    wanted = persons * KEYWORDS if persons else KEYWORDS
    if same or len(files) < wanted or (persons and len(files) != wanted) or len(files) % KEYWORDS:
        print_end(log)
        raise DemoError(
            f"{len(files)} of {wanted} results"
            + (f"; not different from the photograph: {', '.join(same)}" if same else "")
        )
