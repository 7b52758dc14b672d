# SPDX-License-Identifier: Apache-2.0
"""The tests of a user."""

import pytest

# [START testing]
from airflow_provider_piktid.testing.pictures import write_pictures


def test_a_lost_answer_buys_nothing_twice(piktid_emulator, piktid_run_dag, tmp_path):
    shoot = write_pictures(tmp_path / "in", "front.jpg", "back.jpg")
    piktid_emulator.fail("model_swap", "drop_after")  # the job is accepted, the answer is lost

    run = piktid_run_dag("spring", images=str(shoot), output_path=str(tmp_path / "out"))

    assert run.state == "success"
    assert piktid_emulator.bought_images == ["back.jpg", "front.jpg"]
    piktid_emulator.assert_failures_happened()


# [END testing]


# [START testing_credits]
@pytest.mark.piktid_emulator(credits=1)
def test_without_credits_nothing_is_downloaded(piktid_emulator, piktid_run_dag, tmp_path):
    shoot = write_pictures(tmp_path / "in", "front.jpg", "back.jpg")

    run = piktid_run_dag("spring", images=str(shoot), output_path=str(tmp_path / "out"))

    assert run.state == "failed"
    assert piktid_emulator.credits_spent == 0


# [END testing_credits]
