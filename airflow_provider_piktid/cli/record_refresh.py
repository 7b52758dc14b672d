# SPDX-License-Identifier: Apache-2.0
"""``record refresh``: what the runs of a refresh have paid for, from the files below its output_path."""

from __future__ import annotations

import posixpath
from argparse import Namespace
from typing import Any

from airflow_provider_piktid.cli.asking import add_answers, show_records
from airflow_provider_piktid.cli.output import Progress, Text, counted
from airflow_provider_piktid.cli.runner import DONE, WRONG, Result
from airflow_provider_piktid.cli.words import describe
from airflow_provider_piktid.exceptions import PiktidConfigError
from airflow_provider_piktid.files import storage
from airflow_provider_piktid.files.storage import PRIVATE_FOLDER, Location
from airflow_provider_piktid.files.walk import sizes_below
from airflow_provider_piktid.jobs.submission import STATE_KEY

#: Ending of the record of a batch, see ``refresh.batches``.
ENDING = ".jobs.json"


def collect(arguments: Namespace, progress: Progress) -> Result:
    """Read the record of each batch, run by run."""
    read = 0
    runs: dict[str, list[dict[str, Any]]] = {}
    try:
        plans = storage.locate(arguments.output_path).join(f"{PRIVATE_FOLDER}/plans")
        with progress.watch(lambda: f"{read} records read"):
            for name in sorted(name for name in sizes_below(plans) if name.endswith(ENDING)):
                run = posixpath.dirname(name)
                if not arguments.run or arguments.run in run:
                    runs.setdefault(run, []).append(_read(plans, name))
                    read += 1
    except OSError as error:
        raise PiktidConfigError(
            f"{arguments.output_path} cannot be read ({type(error).__name__}). Correct the path, its permissions or "
            "its connection."
        ) from error
    records = [record for batch in runs.values() for record in batch]
    if arguments.ask:
        add_answers(records, arguments.conn_id)
    document = {
        "output_path": arguments.output_path,
        "runs": [{"run": run, "records": batch} for run, batch in runs.items()],
    }
    is_fine = records and not any(record["open"] for record in records)
    return Result(document, DONE if is_fine else WRONG)


def _read(plans: Location, name: str) -> dict[str, Any]:
    place = plans.join(name)
    record = describe(STATE_KEY, storage.read_json(place), place.uri)
    batch = name.removesuffix(ENDING)
    collected = storage.read_json(plans.join(f"{batch}.collected.json")) or []
    waiting = [job["job_id"] for job in record["jobs"] if job["job_id"] not in collected]
    if waiting:
        record["notes"].append(
            f"Not in the catalogue yet: {', '.join(waiting)}. The run's collect task, or the next run, downloads them."
        )
    return record


def show(document: dict[str, Any], text: Text) -> None:
    """Print the records of each run in words."""
    if not document["runs"]:
        text.line(f"{document['output_path']}: no record of paid work below _piktid/plans.")
    for run in document["runs"]:
        jobs = sum(len(record["jobs"]) for record in run["records"])
        text.line(f"Run {run['run']}: {counted(jobs, 'job')}")
        show_records(run["records"], text)
        text.line()
