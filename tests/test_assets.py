# SPDX-License-Identifier: Apache-2.0
"""Assets that report ended jobs."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from typing import Any

import pytest
from airflow import __version__ as airflow_version

HAS_WATCHERS = int(airflow_version.split(".")[0]) >= 3
needs_3 = pytest.mark.skipif(not HAS_WATCHERS, reason="Airflow 3 has asset watchers")


@needs_3
def test_asset_has_a_watcher_with_its_name() -> None:
    """The asset's name is among the arguments of its trigger, so that no two assets share one."""
    from airflow_provider_piktid.assets import piktid_jobs_asset

    assets = [piktid_jobs_asset(name, projects=["spring"], gather=2) for name in ("swaps", "packshots")]
    arguments = [asset.watchers[0].trigger.serialize()[1] for asset in assets]

    assert [asset.name for asset in assets] == [given.pop("name") for given in arguments]
    assert arguments[0] == arguments[1]
    assert arguments[0] == {
        "piktid_conn_id": "piktid_default",
        "statuses": ["completed"],
        "job_types": None,
        "projects": ["spring"],
        "gather": 2.0,
    }


@needs_3
def test_extra_of_the_asset_is_json_for_the_receiver() -> None:
    """The receiver of the webhook finds the asset and its filter by the extra, also without a watcher."""
    from airflow_provider_piktid.assets import piktid_jobs_asset
    from airflow_provider_piktid.jobs.ended import JobFilter, filter_of

    asset = piktid_jobs_asset("swaps", "piktid_eu", ["failed"], ["model_swap"], watch=False)

    assert asset.watchers == []
    extra = json.loads(json.dumps(asset.extra))
    assert filter_of(extra, "piktid_eu") == JobFilter(("failed",), ("model_swap",))


@needs_3
@pytest.mark.parametrize(
    "arguments",
    [
        pytest.param({"statuses": "completed"}, id="text instead of a list"),
        pytest.param({"statuses": ["done"]}, id="unknown status"),
        pytest.param({"projects": "spring"}, id="project as text"),
        pytest.param({"job_types": []}, id="no types"),
        pytest.param({"gather": -1}, id="gather below 0"),
    ],
)
def test_invalid_argument_is_an_error_of_the_dag_file(arguments: dict[str, Any]) -> None:
    """The author of the DAG sees the error; the triggerer would only log it."""
    from airflow_provider_piktid.assets import piktid_jobs_asset

    with pytest.raises(ValueError, match=next(iter(arguments))):
        piktid_jobs_asset("swaps", **arguments)


@needs_3
def test_import_is_light() -> None:
    """A DAG file that imports the assets loads no client and no models."""
    code = (
        "import sys, airflow_provider_piktid.assets;"
        "print([m for m in sys.modules if m.startswith(('airflow_provider_piktid.client', "
        "'airflow_provider_piktid.models', 'airflow_provider_piktid.webhook'))])"
    )
    result = subprocess.run([sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True)
    assert result.stdout.strip().splitlines()[-1:] == ["[]"], result.stderr


def test_import_on_airflow_2_says_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    """The error names the version that is needed and what to use instead."""
    if HAS_WATCHERS:
        monkeypatch.setitem(sys.modules, "airflow.sdk", None)
    spec = importlib.util.find_spec("airflow_provider_piktid.assets")
    assert spec is not None
    assert spec.loader is not None
    with pytest.raises(ImportError, match=r"needs Airflow 3\.0 or newer.*PiktidJobSensor.*webhook"):
        spec.loader.exec_module(importlib.util.module_from_spec(spec))
