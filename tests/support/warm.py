# SPDX-License-Identifier: Apache-2.0
"""Everything that a step imports late, so that processes forked after this import start at once."""

from __future__ import annotations

import tempfile
from importlib import import_module

from airflow_provider_piktid.files import storage

for _name in (
    "airflow_provider_piktid.jobs.watch",
    "airflow_provider_piktid.models",
    "airflow_provider_piktid.operators.download",
    "airflow_provider_piktid.operators.model_swap",
    "airflow_provider_piktid.jobs.submission",
    "airflow_provider_piktid.jobs.queue",
    "tests.support.crash",
    "tests.support.tasks",
):
    import_module(_name)

# Finding the file systems of all providers takes longer than a whole step.
storage.read_json(storage.locate(tempfile.gettempdir()).join("none.json"))
