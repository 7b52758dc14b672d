# SPDX-License-Identifier: Apache-2.0
"""The example DAGs of flat lays, packshots and recolouring, run with ``dag.test()``."""

from __future__ import annotations

import json
from pathlib import Path

from airflow_provider_piktid.emulator import EmulatorServer
from tests.dags.test_examples import Shoot, outputs, run_example
from tests.support.batch import jobs
from tests.support.service import picture


def made_of(folder: Path) -> list[list[str]]:
    """The file names of the photographs that each output in the manifests below a folder was made of."""
    rows = [row for path in folder.rglob("manifest-*.json") for row in json.loads(path.read_text())]
    assert {row["status"] for row in rows} == {"done"}
    return sorted([Path(source).name for source in row["sources"] or [row["source"]]] for row in rows)


def test_flat_lay_example_combines_the_photographs_of_a_look(
    connected: EmulatorServer, shoot: Shoot, tmp_path: Path
) -> None:
    """Two photographs become three outputs, each made of both."""
    run_example(
        "example_flat_to_model", images=str(shoot("look") / "look"), output_path=str(tmp_path / "out")
    )

    assert [job["job_type"] for job in jobs(connected)] == ["flat_2_model"]
    assert len(outputs(tmp_path / "out")) == 3
    assert made_of(tmp_path / "out") == [["back.jpg", "front.jpg"]] * 3


def test_garments_example_makes_packshots_and_recolours(
    connected: EmulatorServer, shoot: Shoot, tmp_path: Path
) -> None:
    """One upload serves two jobs: three packshots of both photographs, and each photograph in another colour."""
    run_example("example_garments", images=str(shoot("look") / "look"), output_path=str(tmp_path / "out"))

    assert sorted(job["job_type"] for job in jobs(connected)) == ["create_packshot", "garment_recolor"]
    assert made_of(tmp_path / "out" / "packshots") == [["back.jpg", "front.jpg"]] * 3
    assert made_of(tmp_path / "out" / "red") == [["back.jpg"], ["front.jpg"]]


def test_create_identity_example_swaps_the_new_person_in(
    connected: EmulatorServer, shoot: Shoot, tmp_path: Path
) -> None:
    """Drafts, their promotion and the swap are three purchases; the swap uses the new identity."""
    run_example("example_create_identity", images=str(shoot("look")), output_path=str(tmp_path / "out"))

    drafts, promotion, swap = jobs(connected)
    assert [job["job_type"] for job in (drafts, promotion, swap)] == [
        "identity_creation",
        "identity_preprocessing",
        "model_swap",
    ]
    assert swap["identity_code"] == promotion["identity_code"]
    assert connected.state.v2.identities[swap["identity_code"]].name == "Spring model"
    assert len(outputs(tmp_path / "out" / "drafts")) == 3
    assert len(outputs(tmp_path / "out" / "swapped")) == 2


def test_preset_example_uses_the_style_of_a_picture(
    connected: EmulatorServer, shoot: Shoot, tmp_path: Path
) -> None:
    """What was read from one picture is the instruction of the job, in the number and size of the DAG."""
    style = picture(tmp_path / "style.jpg", color="teal")

    run_example(
        "example_preset",
        images=str(shoot("look") / "look"),
        style=str(style),
        output_path=str(tmp_path / "out"),
    )

    (preset,) = connected.state.presets()
    (job,) = jobs(connected)
    added = {"num_variations": 2, "options": {"size": "1K"}}
    assert job["options"]["instructions"] == [preset["instruction_data"] | added]
    assert len(outputs(tmp_path / "out")) == 2
