# SPDX-License-Identifier: Apache-2.0
"""``make cluster`` names what is missing on a machine, and the command that installs it."""

from __future__ import annotations

from importlib import metadata
from pathlib import Path

import pytest

from tests.cluster import needs
from tests.cluster.__main__ import main


@pytest.fixture
def bare(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A machine without any of the programs."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(needs, "DEBIAN_POSTGRES", tmp_path)


@pytest.mark.usefixtures("bare")
@pytest.mark.parametrize("package", ["postgresql", "redis-server", "util-linux"])
def test_missing_program_is_named_by_its_debian_package(package: str) -> None:
    """Each missing program is told with the command that installs its package."""
    assert [line for line in needs.missing() if line.endswith(f"apt-get install {package}")]


def test_missing_python_package_is_named_with_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    """A missing Python package is told with the extra that has it."""
    monkeypatch.setattr(needs, "find_spec", lambda name: None)
    assert [line for line in needs.missing() if "airflow.providers.celery" in line and "[cluster]" in line]


def test_celery_that_breaks_the_worker_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """An installed celery 5.7 is told before anything is started."""
    version = metadata.version
    monkeypatch.setattr(metadata, "version", lambda name: "5.7.0" if name == "celery" else version(name))
    assert [line for line in needs.missing() if "celery 5.7" in line]


@pytest.mark.usefixtures("bare")
def test_start_without_them_fails_and_leaves_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The start ends with what is missing, and no folder."""
    assert main(["--home", str(tmp_path / "home"), "up"]) == 1
    assert "apt-get install postgresql" in capsys.readouterr().err
    assert not (tmp_path / "home").exists()


def test_command_without_a_cluster_says_how_to_start_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """`status` without a cluster fails and names `make cluster`."""
    assert main(["--home", str(tmp_path), "status"]) == 1
    assert "make cluster" in capsys.readouterr().err
