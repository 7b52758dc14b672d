# SPDX-License-Identifier: Apache-2.0
"""The plugin: sheets are served, the webhook only if it is configured, and other processes load neither."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from airflow_provider_piktid.plugins.piktid import PiktidPlugin

SETTING = "AIRFLOW__PIKTID__WEBHOOK_CONN_ID"


@pytest.mark.parametrize("value", [None, "", "  "], ids=["unset", "empty", "blank"])
def test_webhook_is_off_unless_it_is_configured(monkeypatch: pytest.MonkeyPatch, value: str | None) -> None:
    """Without a connection there is no address for it."""
    monkeypatch.delenv(SETTING, raising=False)
    if value is not None:
        monkeypatch.setenv(SETTING, value)
    assert "PiktID webhook" not in [entry["name"] for entry in PiktidPlugin().fastapi_apps]


def test_webhook_is_one_application_below_its_prefix(monkeypatch: pytest.MonkeyPatch) -> None:
    """Airflow asks several times; it gets the same application each time."""
    monkeypatch.setenv(SETTING, "piktid_default")
    plugin = PiktidPlugin()
    entry = plugin.fastapi_apps[-1]

    assert (entry["url_prefix"], entry["name"]) == ("/piktid", "PiktID webhook")
    assert plugin.fastapi_apps[-1]["app"] is entry["app"]
    assert [route.path for route in entry["app"].routes] == ["/webhook"]


@pytest.mark.parametrize("configured", [False, True])
def test_loading_the_plugin_loads_no_receiver(configured: bool) -> None:
    """Every Airflow process loads the plugin; only the API server asks for its applications."""
    code = (
        "import sys; from airflow_provider_piktid.plugins.piktid import PiktidPlugin; PiktidPlugin();"
        "rooms = ('airflow_provider_piktid.webhook', 'airflow_provider_piktid.plugins.contact_sheet');"
        "print([m for m in sys.modules if m.startswith(rooms)])"
    )
    environment = {**os.environ, SETTING: "piktid_default" if configured else ""}
    command = [sys.executable, "-W", "ignore", "-c", code]
    result = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert result.stdout.strip().splitlines()[-1:] == ["[]"], result.stderr
