# SPDX-License-Identifier: Apache-2.0
"""The Airflow plugin that registers the operator links."""

from __future__ import annotations

from airflow.providers.common.compat.sdk import AirflowPlugin

from airflow_provider_piktid.links import PiktidContactSheetLink, PiktidJobLink


class PiktidPlugin(AirflowPlugin):
    """Registers the links, so that they are also shown for tasks of older DAG runs."""

    name = "piktid"
    operator_extra_links = [PiktidJobLink(), PiktidContactSheetLink()]  # noqa: RUF012 - Airflow's own form
