# SPDX-License-Identifier: Apache-2.0
"""
Workers are killed with SIGKILL around the record of every kind of paid request; each is paid for once.

The table has every operator whose request is recorded by the kernel; ``test_crash`` has the swap with several jobs and
without a record.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_piktid.emulator import EmulatorServer
from tests.support.batch import jobs, uploaded
from tests.support.crash import POINTS
from tests.support.processes import Death, ProcessTask, StepFailed, StepKilled
from tests.support.service import connection_json

BRIEF = [{"prompt": "a person", "num_variations": 2}]


@dataclass(frozen=True)
class Kind:
    """
    A paid request.

    :param operator: Import path below ``operators``.
    :param images: Whether the operator takes uploaded images.
    :param record: State key of the record of this request.
    :param bought: How many jobs are in the ledger when all is well.
    :param is_repeatable: Whether the request is repeated without being told to.
    """

    operator: str
    arguments: dict[str, Any] = field(default_factory=dict)
    images: bool = True
    record: str = "piktid_jobs"
    bought: int = 1
    is_repeatable: bool = False


CREATE = "identity.PiktidCreateIdentityOperator"
KINDS = {
    "model swap": Kind("model_swap.PiktidModelSwapOperator", {"identity_code": "PiktidSummer"}),
    "flat lay": Kind("flat_to_model.PiktidFlatToModelOperator", {"identity_code": "PiktidSummer"}),
    "packshot": Kind("packshot.PiktidPackshotOperator", {"instructions": [{"style": "free"}]}),
    "recolour": Kind("recolor.PiktidGarmentRecolorOperator", {"reference_text": "red"}),
    "drafts": Kind(CREATE, {"instructions": BRIEF}, images=False),
    "drafts, then promotion": Kind(CREATE, {"instructions": BRIEF, "promote": 0}, images=False, bought=2),
    "promotion": Kind(
        CREATE,
        {"instructions": BRIEF, "promote": 0},
        images=False,
        record="piktid_promotion",
        bought=2,
        is_repeatable=True,
    ),
}
EACH = pytest.mark.parametrize("name", KINDS)
Make = Callable[..., ProcessTask]


@pytest.fixture
def make(server: EmulatorServer, tmp_path: Path) -> Make:
    """Return a task of a kind that kills itself once at a point of its record."""

    def make(name: str, point: str, **more: Any) -> ProcessTask:
        kind = KINDS[name]
        fixed: dict[str, Any] = {
            "poll_interval": 3.0,
            "timeout": 30.0,
            "lost_reply_grace": 0.3,
            "deferrable": True,
        }
        if kind.images:
            project_id, images = uploaded(server, 2)
            fixed |= {"project_id": project_id, "images": images}
        death = Death(point, str(tmp_path / "died"), kind=kind.record)
        path = f"airflow_provider_piktid.operators.{kind.operator}"
        connection = connection_json(server.url, jobs_per_minute=100)
        return ProcessTask(path, fixed | kind.arguments | more, connection, tmp_path, "state_path", death)

    return make


def outcome_after_a_kill(task: ProcessTask) -> Any:
    with pytest.raises(StepKilled):
        task.run()
    return task.run()


@EACH
@pytest.mark.parametrize("point", [point for point in POINTS if point != "after the intent"])
def test_worker_killed_around_the_record_pays_once(
    server: EmulatorServer, make: Make, name: str, point: str
) -> None:
    """After a kill before or after a write of the record, the retry pays only for what was not paid for."""
    result = outcome_after_a_kill(make(name, point))

    assert len(jobs(server)) == KINDS[name].bought
    assert result == [jobs(server)[0]["job_id"]]


@EACH
def test_worker_killed_between_intent_and_request_pays_once(
    server: EmulatorServer, make: Make, name: str
) -> None:
    """What cannot be found fails by default, and nothing is paid for; a promotion is repeated, which is safe."""
    task = make(name, "after the intent")

    if KINDS[name].is_repeatable:
        outcome_after_a_kill(task)
        assert len(jobs(server)) == KINDS[name].bought
    else:
        with pytest.raises(StepFailed, match=r"PiktidSubmissionError.*on_lost_reply='resubmit'"):
            outcome_after_a_kill(task)
        assert jobs(server) == []


@EACH
def test_worker_killed_between_intent_and_request_can_resubmit(
    server: EmulatorServer, make: Make, name: str
) -> None:
    """With ``on_lost_reply="resubmit"`` the retry submits what PiktID does not list."""
    outcome_after_a_kill(make(name, "after the intent", on_lost_reply="resubmit"))

    assert len(jobs(server)) == KINDS[name].bought


@pytest.mark.parametrize(
    ("point", "policy", "bought"),
    [
        pytest.param("before the intent", "fail", 1, id="before the intent"),
        pytest.param("after the intent", "fail", 0, id="never sent"),
        pytest.param("before the record", "fail", 1, id="answer lost"),
        pytest.param("before the record", "resubmit", 2, id="answer lost, bought again"),
        pytest.param("after the record", "fail", 1, id="after the record"),
    ],
)
def test_worker_killed_around_a_preset_pays_once(
    server: EmulatorServer, tmp_path: Path, point: str, policy: str, bought: int
) -> None:
    """The answer of an extraction that was not recorded is lost: another one is bought only if the author says so."""
    _, (file_id,) = uploaded(server, 1)
    task = ProcessTask(
        "airflow_provider_piktid.operators.preset.PiktidExtractPresetOperator",
        {"file_id": file_id, "on_lost_reply": policy, "lost_reply_grace": 0.3},
        connection_json(server.url),
        tmp_path,
        "state_path",
        Death(point, str(tmp_path / "died")),
    )

    if policy == "fail" and point in ("after the intent", "before the record"):
        with pytest.raises(StepFailed, match="PiktidSubmissionError"):
            outcome_after_a_kill(task)
    else:
        assert "prompt" in outcome_after_a_kill(task)

    assert len(server.state.presets()) == bought
