# SPDX-License-Identifier: Apache-2.0
"""What Airflow loads into its web server: the operator links."""

from __future__ import annotations

from airflow.providers.common.compat.sdk import AirflowPlugin

from airflow_provider_piktid.links import PiktidContactSheetLink, PiktidJobLink


class PiktidPlugin(AirflowPlugin):
    """Registers the links, so that they show for tasks of older DAG runs too."""

    name = "piktid"
    operator_extra_links = [PiktidJobLink(), PiktidContactSheetLink()]  # noqa: RUF012 - Airflow's own form
