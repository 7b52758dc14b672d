# SPDX-License-Identifier: Apache-2.0
"""The Airflow plugin: operator links; on the API server contact sheets and the receiver of the webhook."""

from __future__ import annotations

import logging
from functools import cached_property
from typing import Any

from airflow.providers.common.compat.sdk import AirflowPlugin

from airflow_provider_piktid.links import SHEET_PREFIX, PiktidContactSheetLink, PiktidJobLink

log = logging.getLogger(__name__)


class PiktidPlugin(AirflowPlugin):
    """
    Registers the links, so that they are also shown for tasks of older DAG runs, the sheets, and the webhook.

    Every Airflow process imports this module, so it imports the applications only where and if they are used. That
    needs an instance: Airflow creates one for an entry point, but not for a class that the provider's metadata lists.
    """

    name = "piktid"
    operator_extra_links = [PiktidJobLink(), PiktidContactSheetLink()]  # noqa: RUF012 - Airflow's own form

    @cached_property
    def fastapi_apps(self) -> list[dict[str, Any]]:  # type: ignore[override]
        """
        The pages with contact sheets, and ``POST /piktid/webhook`` if ``[piktid] webhook_conn_id`` is set.

        Airflow 2 does not ask for them.
        """
        return [*_contact_sheets(), *_webhook()]


def _contact_sheets() -> list[dict[str, Any]]:
    try:
        from airflow_provider_piktid.plugins.contact_sheet import contact_sheet_app
    except ImportError as error:
        # Airflow's checks of access are not a public interface. The webhook must not depend on them.
        log.warning("This Airflow cannot serve contact sheets: %s", error)
        return []
    return [{"app": contact_sheet_app(), "url_prefix": SHEET_PREFIX, "name": "PiktID contact sheets"}]


def _webhook() -> list[dict[str, Any]]:
    from airflow.providers.common.compat.sdk import conf

    conn_id = (conf.get("piktid", "webhook_conn_id", fallback=None) or "").strip()
    if not conn_id:
        return []
    from airflow_provider_piktid.webhook.app import PREFIX, webhook_app
    from airflow_provider_piktid.webhook.metadata import MetadataSink
    from airflow_provider_piktid.webhook.receiver import WebhookReceiver

    app = webhook_app(WebhookReceiver(conn_id, MetadataSink()))
    return [{"app": app, "url_prefix": PREFIX, "name": "PiktID webhook"}]
