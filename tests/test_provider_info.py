# SPDX-License-Identifier: Apache-2.0
"""The provider metadata is valid, complete, and matches the package."""

from __future__ import annotations

import ast
import importlib
import json
import re
import subprocess
import sys
from importlib.metadata import distribution, entry_points
from pathlib import Path
from typing import Any

import jsonschema
import pytest

import airflow_provider_piktid
from airflow_provider_piktid.get_provider_info import CONN_FIELDS, UI_FIELD_BEHAVIOUR, get_provider_info

PACKAGE = Path(airflow_provider_piktid.__file__).parent
INFO = get_provider_info()
STRICT_BLOCKS = [
    "integrations",
    "hooks",
    "operators",
    "sensors",
    "triggers",
    "connection-types",
    "extra-links",
    "config",
]


def _schema(name: str) -> dict[str, Any]:
    import airflow

    loaded: dict[str, Any] = json.loads((Path(airflow.__file__).parent / name).read_text())
    return loaded


def _listed(key: str) -> set[str]:
    return {module for entry in INFO[key] for module in entry["python-modules"]}


def test_info_is_valid_for_the_installed_airflow() -> None:
    """The metadata is valid for the schema of the installed Airflow."""
    jsonschema.validate(INFO, _schema("provider_info.schema.json"))


@pytest.mark.parametrize("block", STRICT_BLOCKS)
def test_block_is_valid_for_the_strict_schema(block: str) -> None:
    """Each block is valid for the schema of Airflow's own providers, which refuses unknown keys."""
    schema = _schema("provider.yaml.schema.json")
    if "conn-fields" not in json.dumps(schema) and block == "connection-types":
        pytest.skip("this Airflow's schema knows no connection form fields")
    known = schema["properties"][block]
    if block == "integrations" and "generative-ai" not in json.dumps(known):
        pytest.skip("this Airflow's schema has an older list of tags")
    jsonschema.validate(INFO[block], {**known, "definitions": schema["definitions"]})


def test_every_key_is_known_to_airflow() -> None:
    """Airflow knows every top-level key; versions before 3.2 ignore the commands."""
    assert set(INFO) - {"cli"} <= set(_schema("provider.yaml.schema.json")["properties"])


def test_commands_can_be_imported() -> None:
    """The function that returns the commands of ``airflow piktid`` exists."""
    (path,) = INFO["cli"]
    module, _, name = path.rpartition(".")
    assert callable(getattr(importlib.import_module(module), name))


def test_package_name_equals_the_distribution() -> None:
    """The package name equals the name of the distribution."""
    assert INFO["package-name"] == distribution("airflow-provider-piktid").metadata["Name"]


def test_versions_start_with_the_package_version() -> None:
    """The newest listed version is the package version."""
    assert INFO["versions"][0] == airflow_provider_piktid.__version__


@pytest.mark.parametrize("key", ["hooks", "operators", "sensors", "triggers"])
def test_listed_modules_are_those_that_exist(key: str) -> None:
    """Exactly the modules with a public class of each kind are listed."""
    kind = re.compile(rf"^class Piktid\w*{key[:-1].title()}\(", re.MULTILINE)
    files = {p.stem for p in (PACKAGE / key).glob("*.py") if kind.search(p.read_text())}
    assert _listed(key) == {f"airflow_provider_piktid.{key}.{name}" for name in files}


@pytest.mark.parametrize(
    "name",
    [
        *INFO["extra-links"],
        *(entry["hook-class-name"] for entry in INFO["connection-types"]),
    ],
)
def test_listed_class_can_be_imported(name: str) -> None:
    """Every class name in the metadata can be imported."""
    module, _, attribute = name.rpartition(".")
    assert isinstance(getattr(importlib.import_module(module), attribute), type)


def test_how_to_guides_exist(repository: Path) -> None:
    """Every how-to guide exists, and every operator page is listed as a guide."""
    guides = INFO["integrations"][0]["how-to-guide"]
    assert [guide for guide in guides if not (repository / guide.lstrip("/")).is_file()] == []
    pages = {f"/docs/operators/{page.name}" for page in (repository / "docs" / "operators").glob("*.md")}
    assert pages <= set(guides)


def test_hook_agrees_with_the_metadata() -> None:
    """Connection type and name are equal in the hook and the metadata."""
    from airflow_provider_piktid.hooks.piktid import PiktidHook

    entry = INFO["connection-types"][0]
    assert (PiktidHook.conn_type, PiktidHook.hook_name) == (entry["connection-type"], entry["hook-name"])
    assert PiktidHook.default_conn_name == "piktid_default"


def test_form_of_older_versions_shows_the_same_behaviour() -> None:
    """The hook describes the standard fields as the metadata does."""
    from airflow_provider_piktid.hooks.piktid import PiktidHook

    behaviour = PiktidHook.get_ui_field_behaviour()
    assert behaviour["hidden_fields"] == UI_FIELD_BEHAVIOUR["hidden-fields"]
    assert behaviour["relabeling"] == UI_FIELD_BEHAVIOUR["relabeling"]
    assert behaviour["placeholders"] == UI_FIELD_BEHAVIOUR["placeholders"]


@pytest.mark.parametrize("name", sorted(CONN_FIELDS))
def test_default_of_a_field_is_valid_for_its_schema(name: str) -> None:
    """The default of each field is valid for its schema."""
    schema = CONN_FIELDS[name]["schema"]
    jsonschema.validate(schema.get("default"), schema)


def test_entry_points_are_registered() -> None:
    """The entry points return the metadata and the plugin."""
    (info,) = [e for e in entry_points(group="apache_airflow_provider") if "piktid" in e.value]
    assert (info.name, info.load()()) == ("provider_info", INFO)
    (plugin,) = [e for e in entry_points(group="airflow.plugins") if "piktid" in e.value]
    assert plugin.load().__name__ == "PiktidPlugin"


def test_reading_the_metadata_imports_no_airflow() -> None:
    """Reading the metadata imports neither Airflow nor another module of the package."""
    code = (
        "import sys; from airflow_provider_piktid.get_provider_info import get_provider_info as g; g();"
        "print([m for m in sys.modules if m.split('.')[0] in ('airflow', 'httpx', 'pydantic')"
        " or m.startswith('airflow_provider_piktid.') and not m.endswith('get_provider_info')])"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ast.literal_eval(result.stdout) == []
