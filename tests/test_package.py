# SPDX-License-Identifier: Apache-2.0
"""The distribution: version, licence, dependencies, and the contents of the wheel."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
import zipfile
from importlib.metadata import distribution
from pathlib import Path
from typing import Any

import pytest

import airflow_provider_piktid

DISTRIBUTION = "airflow-provider-piktid"
BUNDLED_DAGS = "airflow_provider_piktid/demo/example_dags"


@pytest.fixture(scope="module")
def pyproject(repository: Path) -> dict[str, Any]:
    """The parsed pyproject.toml."""
    return tomllib.loads((repository / "pyproject.toml").read_text())


def _sources(repository: Path) -> list[Path]:
    folders = ("airflow_provider_piktid", "example_dags", "tests", "docs", ".ci")
    found = [path for folder in folders for path in (repository / folder).rglob("*") if path.is_file()]
    return [path for path in found if "_build" not in path.parts and "__pycache__" not in path.parts]


def test_installed_version_equals_the_package_version() -> None:
    """Metadata and `__version__` agree."""
    assert distribution(DISTRIBUTION).version == airflow_provider_piktid.__version__


def test_changelog_starts_with_the_package_version(repository: Path) -> None:
    """The newest entry of the changelog is the package version."""
    changelog = (repository / "docs" / "changelog.md").read_text()
    newest = re.search(r"^## (\d+\.\d+\.\d+)", changelog, re.MULTILINE)
    assert newest is not None
    assert newest[1] == airflow_provider_piktid.__version__


def test_dependencies_have_lower_bounds_only(pyproject: dict[str, Any]) -> None:
    """Every dependency has a lower bound and no upper bound, except for those of the development tool `cluster`."""
    project = pyproject["project"]
    extras = {name: extra for name, extra in project["optional-dependencies"].items() if name != "cluster"}
    named = [*project["dependencies"], *(d for extra in extras.values() for d in extra)]
    bounded = [d for d in named if not d.startswith(DISTRIBUTION)]
    assert [d for d in bounded if not re.fullmatch(r"[a-z0-9-]+(\[[a-z0-9,]+\])?>=[\d.]+", d)] == []


def test_source_files_name_the_licence(repository: Path) -> None:
    """The first line of every source file is the SPDX identifier."""
    files = [path for path in _sources(repository) if path.suffix == ".py"]
    assert files
    missing = [p for p in files if not p.read_text().startswith("# SPDX-License-Identifier: Apache-2.0\n")]
    assert missing == []


def test_licence_is_in_the_metadata() -> None:
    """The metadata contains the licence expression and the licence files."""
    metadata = distribution(DISTRIBUTION).metadata
    assert metadata["License-Expression"] == "Apache-2.0"
    assert set(metadata.get_all("License-File") or []) == {"LICENSE", "NOTICE"}


def test_relative_links_of_the_readme_exist(repository: Path) -> None:
    """Every relative link in the README points to a file."""
    targets = re.findall(r"\]\((?!https?:)([^)#]+)", (repository / "README.md").read_text())
    assert targets
    assert [target for target in targets if not (repository / target).is_file()] == []


def test_make_commands_of_the_readme_exist(repository: Path) -> None:
    """The `make` commands in the README are targets of the Makefile."""
    makefile = (repository / "Makefile").read_text()
    readme = (repository / "README.md").read_text()
    commands = set(re.findall(r"(?:^|`)make ([\w-]+)", readme, re.MULTILINE))
    assert commands == {"demo", "demo-person", "demo-refresh", "test", "ui"}
    assert [name for name in commands if not re.search(rf"^{name}:", makefile, re.MULTILINE)] == []


@pytest.fixture(scope="module")
def wheel(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from the source distribution."""
    folder = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(folder), str(repository)]
    subprocess.run(command, check=True, capture_output=True)
    (found,) = folder.glob("*.whl")
    return found


@pytest.mark.slow
def test_wheel_contains_only_the_package(repository: Path, wheel: Path) -> None:
    """The wheel contains every module, the typing marker, the licence and the notice, and nothing else."""
    names = zipfile.ZipFile(wheel).namelist()
    info = f"airflow_provider_piktid-{airflow_provider_piktid.__version__}.dist-info"
    assert {name.split("/")[0] for name in names} == {"airflow_provider_piktid", info}
    assert "airflow_provider_piktid/py.typed" in names
    assert {f"{info}/licenses/LICENSE", f"{info}/licenses/NOTICE"} <= set(names)
    python = {name for name in names if name.endswith(".py") and not name.startswith(f"{BUNDLED_DAGS}/")}
    sources = {
        str(path.relative_to(repository)) for path in (repository / "airflow_provider_piktid").rglob("*.py")
    }
    assert python == sources


@pytest.mark.slow
def test_wheel_contains_each_example_dag_once(repository: Path, wheel: Path) -> None:
    """
    The wheel contains each example DAG once, in the folder of the demo.

    With `load_examples` on, Airflow loads the folder `example_dags` of a provider package.
    """
    files = sorted(path.name for path in (repository / "example_dags").iterdir() if path.is_file())
    carried = [name for name in zipfile.ZipFile(wheel).namelist() if name.rpartition("/")[2] in files]
    assert files
    assert sorted(carried) == [f"{BUNDLED_DAGS}/{name}" for name in files]


@pytest.mark.slow
def test_demo_of_the_wheel_uses_the_example_dags_of_the_wheel(wheel: Path, tmp_path: Path) -> None:
    """Without a clone, the demo uses the folder in the installed package."""
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path / "site")
    code = "from airflow_provider_piktid.demo.environment import example_dags; print(example_dags())"
    environment = {**os.environ, "PYTHONPATH": str(tmp_path / "site")}
    result = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    assert Path(result.stdout.strip()) == (tmp_path / "site" / BUNDLED_DAGS).resolve()
