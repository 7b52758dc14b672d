# SPDX-License-Identifier: Apache-2.0
"""The files in the output folder."""

from __future__ import annotations

from pathlib import Path

from airflow_provider_piktid.files import storage
from airflow_provider_piktid.refresh.outputs import OutputFolder, PresentFiles


def test_present_files_are_found_by_name() -> None:
    """The size of each file is found by its name; others have none."""
    present = PresentFiles((f"folder/{number}.jpg", number) for number in range(1000))

    assert [present.get(f"folder/{number}.jpg") for number in (0, 500, 999)] == [0, 500, 999]
    assert present.get("folder/1000.jpg") is None
    assert PresentFiles([]).get("a.jpg") is None


def test_removal_stays_below_output_path(tmp_path: Path) -> None:
    """It removes no file outside the output folder and ignores missing files."""
    (tmp_path / "out").mkdir()
    for name in ("out/a.jpg", "b.jpg"):
        (tmp_path / name).touch()

    OutputFolder(storage.locate(str(tmp_path / "out"))).remove(["a.jpg", "../b.jpg", "gone.jpg"])

    assert not (tmp_path / "out" / "a.jpg").exists()
    assert (tmp_path / "b.jpg").exists()
