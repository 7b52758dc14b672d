# SPDX-License-Identifier: Apache-2.0
"""``record task``: what one task instance has paid for, wherever its records are kept."""

from __future__ import annotations

import json
from argparse import Namespace
from collections.abc import Iterator
from typing import Any

from airflow_provider_piktid.cli.asking import add_answers, show_records
from airflow_provider_piktid.cli.output import Progress, Text
from airflow_provider_piktid.cli.runner import DONE, WRONG, Result
from airflow_provider_piktid.cli.words import KINDS, describe
from airflow_provider_piktid.common.compat import has_task_state_store
from airflow_provider_piktid.common.records import configured_folder, record_key
from airflow_provider_piktid.exceptions import PiktidConfigError
from airflow_provider_piktid.files import storage
from airflow_provider_piktid.files.storage import PRIVATE_FOLDER, Location


def collect(arguments: Namespace, progress: Progress) -> Result:
    """Read the records of a task instance from folders, or from Airflow's task state store."""
    folders = arguments.path or ([configured_folder()] if configured_folder() else [])
    records = [record for folder in folders for record in _in_folder(folder, arguments)]
    records += _in_state_store(arguments)
    if arguments.ask:
        add_answers(records, arguments.conn_id)
    name = f"{arguments.dag_id}.{arguments.task_id}, run {arguments.run_id}"
    if arguments.map_index >= 0:
        name += f", map index {arguments.map_index}"
    document = {"task_instance": name, "looked_in": [*folders, *_stores()], "records": records}
    is_fine = records and not any(record["open"] for record in records)
    return Result(document, DONE if is_fine else WRONG)


def show(document: dict[str, Any], text: Text) -> None:
    """Print each record in words."""
    text.line(document["task_instance"])
    if not document["records"]:
        places = ", ".join(document["looked_in"]) or "no place: [piktid] state_path is not set"
        text.line(
            f"No record found. Looked in: {places}. Pass the state_path or output_path of the task as --path."
        )
    show_records(document["records"], text)


def _in_folder(folder: str, arguments: Namespace) -> Iterator[dict[str, Any]]:
    key = record_key(arguments.dag_id, arguments.task_id, arguments.run_id, arguments.map_index)
    try:
        place = storage.locate(folder)
        for base in _bases(place):
            for kind in KINDS:
                file = base.join(f"{key}-{kind}.json")
                value = storage.read_json(file)
                if value is not None:
                    yield describe(kind, value, file.uri)
    except Exception as error:
        raise PiktidConfigError(
            f"{folder} cannot be read ({type(error).__name__}). Correct the path, its permissions or its connection."
        ) from error


def _bases(place: Location) -> list[Location]:
    """Return the folders in which a record may be: itself, that of an output_path, and those of ``reuse=True``."""
    bases = [place, place.join(PRIVATE_FOLDER)]
    place.fs.invalidate_cache()
    if place.fs.exists(place.path):
        listed = place.fs.ls(place.path, detail=True)
        names = [
            info["name"].rstrip("/").rpartition("/")[2] for info in listed if info["type"] == "directory"
        ]
        bases += [place.join(name) for name in names if name.startswith("reuse-")]
    return bases


def _in_state_store(arguments: Namespace) -> list[dict[str, Any]]:
    """Return the records of Airflow's task state store (3.3+), read from the metadata database."""
    if not has_task_state_store():
        return []
    from airflow.models.task_state_store import TaskStateStoreModel as Row
    from airflow.utils.session import create_session
    from sqlalchemy import select
    from sqlalchemy.exc import SQLAlchemyError

    task = (Row.dag_id == arguments.dag_id, Row.task_id == arguments.task_id, Row.run_id == arguments.run_id)
    # 3.4 has loops as well as mapped tasks, and calls the index of both so.
    index = Row.region_index if hasattr(Row, "region_index") else Row.map_index
    query = select(Row.key, Row.value).where(*task, index == arguments.map_index, Row.key.in_(list(KINDS)))
    try:
        with create_session() as session:
            found = session.execute(query).all()
    except SQLAlchemyError as error:
        raise PiktidConfigError(
            f"Airflow's metadata database cannot be read ({type(error).__name__}). Run this where the scheduler runs."
        ) from error
    return [describe(key, json.loads(value), "Airflow's task state store") for key, value in found]


def _stores() -> list[str]:
    return ["Airflow's task state store"] if has_task_state_store() else []
