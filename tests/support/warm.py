# SPDX-License-Identifier: Apache-2.0
"""Imports everything that a step imports late, so that processes forked afterwards start quickly."""

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
    "airflow_provider_piktid.client",
    "airflow_provider_piktid.operators.refresh",
    "airflow_provider_piktid.operators.generate_person",
    "airflow_provider_piktid.operators.upload",
    "airflow_provider_piktid.triggers.generate_person",
    "tests.support.crash",
    "tests.support.nights",
    "tests.support.person",
    "tests.support.tasks",
):
    import_module(_name)

# The discovery of the providers' file systems takes longer than a whole step.
storage.read_json(storage.locate(tempfile.gettempdir()).join("none.json"))
