# SPDX-License-Identifier: Apache-2.0
"""The plugin: the webhook is served only if it is configured, and costs other processes nothing."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from airflow_provider_piktid.plugins.piktid import PiktidPlugin

SETTING = "AIRFLOW__PIKTID__WEBHOOK_CONN_ID"


@pytest.mark.parametrize("value", [None, "", "  "], ids=["unset", "empty", "blank"])
def test_webhook_is_off_unless_it_is_configured(monkeypatch: pytest.MonkeyPatch, value: str | None) -> None:
    """Without a connection there is no address."""
    monkeypatch.delenv(SETTING, raising=False)
    if value is not None:
        monkeypatch.setenv(SETTING, value)
    assert PiktidPlugin().fastapi_apps == []


def test_webhook_is_one_application_below_its_prefix(monkeypatch: pytest.MonkeyPatch) -> None:
    """Airflow asks several times; it gets the same application each time."""
    monkeypatch.setenv(SETTING, "piktid_default")
    plugin = PiktidPlugin()
    (entry,) = plugin.fastapi_apps

    assert (entry["url_prefix"], entry["name"]) == ("/piktid", "PiktID webhook")
    assert plugin.fastapi_apps[0]["app"] is entry["app"]
    assert [route.path for route in entry["app"].routes] == ["/webhook"]


@pytest.mark.parametrize("configured", [False, True])
def test_loading_the_plugin_loads_no_receiver(configured: bool) -> None:
    """Every Airflow process loads the plugin; only the API server asks for its applications."""
    code = (
        "import sys; from airflow_provider_piktid.plugins.piktid import PiktidPlugin; PiktidPlugin();"
        "print([m for m in sys.modules if m.startswith('airflow_provider_piktid.webhook')])"
    )
    environment = {**os.environ, SETTING: "piktid_default" if configured else ""}
    command = [sys.executable, "-W", "ignore", "-c", code]
    result = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert result.stdout.strip().splitlines()[-1:] == ["[]"], result.stderr
