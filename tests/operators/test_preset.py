# SPDX-License-Identifier: Apache-2.0
"""A preset is paid for once, its answer is kept, and the other operators take it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException

from airflow_provider_piktid.emulator import EmulatorServer
from airflow_provider_piktid.exceptions import (
    PiktidBudgetError,
    PiktidInvalidRequestError,
    PiktidSubmissionError,
)
from airflow_provider_piktid.models.preset import PRESET_TYPES, as_instruction
from airflow_provider_piktid.operators.flat_to_model import PiktidFlatToModelOperator
from airflow_provider_piktid.operators.identity import PiktidCreateIdentityOperator
from airflow_provider_piktid.operators.packshot import PiktidPackshotOperator
from airflow_provider_piktid.operators.preset import PiktidExtractPresetOperator
from tests.support.batch import jobs, uploaded
from tests.support.tasks import TaskRun

PATHS = pytest.mark.parametrize("deferrable", [True, False], ids=["deferrable", "sync"])


def extract(server: EmulatorServer, **changes: Any) -> TaskRun:
    fixed: dict[str, Any] = {"task_id": "extract", "lost_reply_grace": 0.3}
    fixed |= {} if "file_id" in changes else {"file_id": uploaded(server, 1)[1][0]}
    return TaskRun(lambda: PiktidExtractPresetOperator(**(fixed | changes)))


@PATHS
def test_preset_is_extracted_once(server: EmulatorServer, deferrable: bool) -> None:
    """The instruction is returned, also by a clear, which pays nothing."""
    task = extract(server, deferrable=deferrable)

    first = task.run()

    assert first == task.run()
    assert set(first) == {"prompt", "pose", "background"}
    assert task.ti.xcom["preset"]["instruction_data"] == first
    assert len(server.state.presets()) == 1


FAULTS = [
    pytest.param("drop_after", {}, id="reply lost"),
    pytest.param("html", {"done": True}, id="HTML"),
    pytest.param("garbage_json", {"done": True}, id="invalid JSON"),
    pytest.param("wrong_types", {"done": True}, id="wrong types"),
    pytest.param("truncate", {"done": True}, id="truncated"),
    pytest.param("status", {"code": 502, "done": True}, id="502"),
]


@PATHS
@pytest.mark.parametrize(("kind", "params"), FAULTS)
def test_lost_answer_fails_by_default(
    server: EmulatorServer, kind: str, params: dict[str, Any], deferrable: bool
) -> None:
    """An answer that was lost cannot be found: by default neither this try nor a retry pays for another one."""
    server.faults.add("extract_preset", kind, **params)
    task = extract(server, deferrable=deferrable)

    for _ in range(2):
        with pytest.raises(PiktidSubmissionError, match="on_lost_reply='resubmit'"):
            task.run()

    assert len(server.state.presets()) == 1


@PATHS
def test_lost_answer_is_bought_again_if_the_author_says_so(server: EmulatorServer, deferrable: bool) -> None:
    """With ``resubmit`` another one is paid for, once."""
    server.faults.add("extract_preset", "drop_after")
    task = extract(server, deferrable=deferrable, on_lost_reply="resubmit")

    assert task.run() == task.run()
    assert len(server.state.presets()) == 2


@PATHS
def test_rate_limit_is_waited_out(server: EmulatorServer, deferrable: bool) -> None:
    """A 429 is waited out, in the triggerer if the task is deferrable."""
    server.faults.add("extract_preset", "status", code=429, headers={"Retry-After": "1"})
    task = extract(server, deferrable=deferrable)

    task.run()

    assert (len(server.state.presets()), task.deferrals) == (1, int(deferrable))


def test_retry_that_could_keep_no_record_does_not_pay(server: EmulatorServer) -> None:
    """Where no record can be kept, an earlier try may have paid."""
    task = extract(server)
    task.store, task.ti.try_number = None, 1

    with pytest.raises(PiktidSubmissionError):
        task.run()
    assert server.state.presets() == []


@pytest.mark.parametrize(
    "change", [{"rerun_key": "again"}, {"preset_type": "create_packshot"}], ids=["key", "type"]
)
def test_other_input_is_another_purchase_and_the_first_one_stays(
    server: EmulatorServer, change: dict[str, Any]
) -> None:
    """Arguments that change back find what they bought."""
    file_id = uploaded(server, 1)[1][0]
    task, other = extract(server, file_id=file_id), extract(server, file_id=file_id, **change)
    other.store, other.ti = task.store, task.ti
    first = task.run()
    other.run()

    assert task.run() == first
    assert len(server.state.presets()) == 2


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        pytest.param({"preset_type": "poster"}, "flat_2_model, create_packshot", id="unknown type"),
        pytest.param({"file_id": ["f"]}, "one file id", id="list of files"),
        pytest.param({"file_id": ""}, "one file id", id="no file"),
        pytest.param({"override": "two"}, "override must be a mapping", id="override as text"),
        pytest.param({"max_credits": 0}, "max_credits=0", id="budget"),
        pytest.param({"file_id": "nobody"}, "file_id: Unknown file_id", id="unknown file"),
    ],
)
def test_bad_input_costs_nothing(server: EmulatorServer, changes: dict[str, Any], told: str) -> None:
    """The error names what to change."""
    with pytest.raises(AirflowFailException, match=told) as caught:
        extract(server, **changes).run()
    assert server.state.presets() == []
    assert isinstance(caught.value.__cause__, PiktidBudgetError | PiktidInvalidRequestError | ValueError)


@pytest.mark.parametrize(
    ("preset_type", "operator", "arguments"),
    [
        pytest.param(
            "flat_2_model", PiktidFlatToModelOperator, {"identity_code": "PiktidSummer"}, id="flat lay"
        ),
        pytest.param("create_packshot", PiktidPackshotOperator, {}, id="packshot"),
        pytest.param("identity_creation", PiktidCreateIdentityOperator, None, id="identity"),
    ],
)
def test_preset_is_an_instruction_of_its_operator(
    server: EmulatorServer, preset_type: str, operator: Any, arguments: dict[str, Any] | None
) -> None:
    """What is returned is one of the ``instructions`` of the operator of its type."""
    project_id, files = uploaded(server, 1)
    more = {} if arguments is None else {"project_id": project_id, "images": files, **arguments}
    override = {"num_variations": 2}
    preset = extract(server, file_id=files[0], preset_type=preset_type, override=override).run()

    work = TaskRun(lambda: operator(task_id="work", instructions=[preset], timeout=120.0, **more))
    work.run()

    (job,) = jobs(server)
    assert (job["job_type"], work.ti.xcom["summary"]["successful"]) == (preset_type, 2)


@pytest.mark.parametrize(
    ("preset_type", "data", "instruction", "left_out"),
    [
        pytest.param(
            "flat_2_model",
            {"prompt": "a", "mood": "b"},
            {"prompt": "a", "extra": {"mood": "b"}},
            [],
            id="new",
        ),
        pytest.param("flat_2_model", {"prompt": {"a": 1}, "pose": ""}, {}, ["prompt"], id="other shape"),
        pytest.param(
            "flat_2_model",
            {"prompt": "a", "num_variations": 4, "options": {"size": "4K"}, "seed": None},
            {"prompt": "a"},
            [],
            id="what decides the bill",
        ),
        pytest.param(
            "identity_creation",
            {"hair": {"color": "red", "shine": "a"}, "camera": {"lens": "50"}, "face": {"eyes": ["b"]}},
            {"hair": {"color": "red", "extra": {"shine": "a"}}},
            ["face.eyes"],
            id="identity",
        ),
        pytest.param("model_swap", {"anything": [1]}, {"anything": [1]}, [], id="swap"),
    ],
)
def test_answer_becomes_an_instruction(
    preset_type: str, data: dict[str, Any], instruction: dict[str, Any], left_out: list[str]
) -> None:
    """Unknown fields pass through, values of another shape are named, and nothing in an answer raises the bill."""
    assert as_instruction(preset_type, data) == (instruction, left_out)
    assert preset_type in PRESET_TYPES


def test_record_is_kept_where_state_path_says(server: EmulatorServer, tmp_path: Path) -> None:
    """The record with the answer is one file below ``state_path``."""
    task = extract(server, state_path=str(tmp_path))
    task.store = None

    assert task.run() == task.run()
    assert [path.name.rpartition("-")[2] for path in tmp_path.iterdir()] == ["piktid_preset.json"]
    assert len(server.state.presets()) == 1
