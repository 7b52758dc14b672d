# SPDX-License-Identifier: Apache-2.0
"""The links on a task's page in the Airflow UI."""

from __future__ import annotations

from typing import Any

import pytest
from airflow.providers.common.compat.sdk import XCom

from airflow_provider_piktid.links import JOB_URL_KEY, PiktidJobLink
from airflow_provider_piktid.plugins.piktid import PiktidPlugin


@pytest.mark.parametrize(
    ("stored", "shown"),
    [("https://app.example/#job-1", "https://app.example/#job-1"), (None, "")],
    ids=["after submission", "before"],
)
def test_link_is_read_from_xcom(monkeypatch: pytest.MonkeyPatch, stored: str | None, shown: str) -> None:
    """The link is read from XCom under ``JOB_URL_KEY``; without a value it is empty."""
    asked: list[str] = []

    def get_value(*, key: str, ti_key: Any) -> str | None:
        asked.append(key)
        return stored

    monkeypatch.setattr(XCom, "get_value", get_value)

    assert PiktidJobLink().get_link(None, ti_key=None) == shown  # type: ignore[arg-type]
    assert asked == [JOB_URL_KEY]


def test_plugin_registers_the_links() -> None:
    """The plugin registers both operator links."""
    assert [link.name for link in PiktidPlugin.operator_extra_links] == [
        "PiktID job",
        "Contact sheet",
    ]
