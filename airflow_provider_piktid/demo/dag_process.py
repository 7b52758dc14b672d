# SPDX-License-Identifier: Apache-2.0
"""
Run DAGs in one Airflow process: importing Airflow for each run would take longer than the run.

For each line of JSON on the standard input, ``[dag id, params]``, it prints one: the state in which the DAG run ended,
and the values that its tasks pushed under the XCom key ``summary``, by task id.
"""

from __future__ import annotations

import json
import os
import sys
from importlib import import_module
from typing import Any


def _dag_bag(folder: str) -> Any:
    try:
        module = import_module("airflow.dag_processing.dagbag")
    except ImportError:  # before 3.2
        module = import_module("airflow.models.dagbag")
    return module.DagBag(folder)


def _summaries(run: Any) -> dict[str, Any]:
    try:
        from airflow.models.xcom import XComModel
    except ImportError:  # Airflow 2
        return {}
    from airflow.utils.session import create_session

    with create_session() as session:
        rows: Any = session.scalars(XComModel.get_many(run_id=run.run_id, dag_ids=run.dag_id, key="summary"))
        return {row.task_id: XComModel.deserialize_value(row) for row in rows}


def main(folder: str) -> None:
    # Airflow logs to the standard output as well; it goes where the errors go.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    from airflow.utils.db import initdb

    initdb()
    dags = _dag_bag(folder).dags
    for line in sys.stdin:
        dag_id, params = json.loads(line)
        run = dags[dag_id].test(run_conf=params)
        print(json.dumps([str(run.state), _summaries(run)]), file=answers, flush=True)


if __name__ == "__main__":
    main(sys.argv[1])
