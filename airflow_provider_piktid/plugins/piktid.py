# SPDX-License-Identifier: Apache-2.0
"""The Airflow plugin: the operator links, and the receiver of the webhook on the API server."""

from __future__ import annotations

from functools import cached_property
from typing import Any

from airflow.providers.common.compat.sdk import AirflowPlugin

from airflow_provider_piktid.links import PiktidContactSheetLink, PiktidJobLink


class PiktidPlugin(AirflowPlugin):
    """
    Registers the links, so that they are also shown for tasks of older DAG runs, and the webhook.

    Every Airflow process imports this module, so it imports the receiver only where and if it is used. That needs an
    instance: Airflow creates one for an entry point, but not for a class that the provider's metadata lists.
    """

    name = "piktid"
    operator_extra_links = [PiktidJobLink(), PiktidContactSheetLink()]  # noqa: RUF012 - Airflow's own form

    @cached_property
    def fastapi_apps(self) -> list[dict[str, Any]]:  # type: ignore[override]
        """``POST /piktid/webhook`` if ``[piktid] webhook_conn_id`` is set. Airflow 2 does not ask for it."""
        from airflow.providers.common.compat.sdk import conf

        conn_id = (conf.get("piktid", "webhook_conn_id", fallback=None) or "").strip()
        if not conn_id:
            return []
        from airflow_provider_piktid.webhook.app import PREFIX, webhook_app
        from airflow_provider_piktid.webhook.metadata import MetadataSink
        from airflow_provider_piktid.webhook.receiver import WebhookReceiver

        app = webhook_app(WebhookReceiver(conn_id, MetadataSink()))
        return [{"app": app, "url_prefix": PREFIX, "name": "PiktID webhook"}]
