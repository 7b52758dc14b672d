# SPDX-License-Identifier: Apache-2.0
"""A new identity: drafts are bought once, one of them is promoted once, whatever happens in between."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException

from airflow_provider_piktid.emulator import EmulatorServer
from airflow_provider_piktid.exceptions import (
    PiktidBudgetError,
    PiktidConfigError,
    PiktidConflictError,
    PiktidCreditsError,
    PiktidInvalidRequestError,
    PiktidNotFoundError,
    PiktidQuotaError,
    PiktidSubmissionError,
)
from airflow_provider_piktid.operators.download import PiktidDownloadOperator
from airflow_provider_piktid.operators.identity import (
    PiktidCreateIdentityOperator,
    PiktidPromoteIdentityOperator,
)
from tests.support.batch import jobs
from tests.support.fixtures import Start
from tests.support.tasks import TaskRun

pytestmark = pytest.mark.usefixtures("fast_polls")

PATHS = pytest.mark.parametrize("deferrable", [True, False], ids=["deferrable", "sync"])
#: Three drafts, 3 credits each.
BRIEF = [{"hair": {"color": "red"}, "num_variations": 3, "options": {"size": "1K"}}]
DRAFTS, PROMOTION = 9.0, 50.0


def create(**changes: Any) -> TaskRun:
    fixed: dict[str, Any] = {
        "task_id": "create",
        "instructions": BRIEF,
        "name": "Anna",
        "poll_interval": 0.3,
        "timeout": 30.0,
        "lost_reply_grace": 0.3,
    }
    return TaskRun(lambda: PiktidCreateIdentityOperator(**(fixed | changes)))


def promote(job_ids: list[str], **changes: Any) -> TaskRun:
    fixed: dict[str, Any] = {
        "task_id": "promote",
        "job_ids": job_ids,
        "draft": 0,
        "poll_interval": 0.3,
        "timeout": 30.0,
        "lost_reply_grace": 0.3,
    }
    return TaskRun(lambda: PiktidPromoteIdentityOperator(**(fixed | changes)))


def paid(server: EmulatorServer) -> list[tuple[str, float]]:
    """What was bought, in order: the type of each job, and its credits."""
    return [(job["job_type"], job["credits"]) for job in jobs(server)]


BOTH = [("identity_creation", DRAFTS), ("identity_preprocessing", PROMOTION)]


@PATHS
def test_drafts_alone_make_no_identity(server: EmulatorServer, deferrable: bool) -> None:
    """Without ``promote`` the drafts are bought and listed, and nothing else is paid for."""
    task = create(deferrable=deferrable)

    result = task.run()

    assert paid(server) == BOTH[:1]
    assert result == [jobs(server)[0]["job_id"]]
    assert [draft["draft"] for draft in task.ti.xcom["drafts"]] == [0, 1, 2]
    assert (task.ti.xcom["summary"]["successful"], task.ti.xcom["summary"]["images"]) == (3, 0)
    assert "identity_code" not in task.ti.xcom


@PATHS
def test_promoted_draft_is_an_identity_that_is_ready(server: EmulatorServer, deferrable: bool) -> None:
    """With ``promote`` one draft becomes an identity, which is preprocessed when the task ends."""
    task = create(promote=1, deferrable=deferrable)

    result = task.run()

    assert paid(server) == BOTH
    assert result == [jobs(server)[0]["job_id"]]
    code = task.ti.xcom["identity_code"]
    identity = server.state.v2.identities[code]
    assert (identity.name, identity.preprocessing_status) == ("Anna", "completed")
    assert server.state.v2.promoted == {task.ti.xcom["drafts"][1]["image_result_id"]: code}


@PATHS
def test_clear_pays_for_nothing(server: EmulatorServer, deferrable: bool) -> None:
    """A task that runs again returns the same drafts and the same identity."""
    task = create(promote=0, deferrable=deferrable)
    first, code = task.run(), task.ti.xcom["identity_code"]

    assert (task.run(), task.ti.xcom["identity_code"]) == (first, code)
    assert paid(server) == BOTH


@PATHS
@pytest.mark.parametrize(
    "fault",
    [
        pytest.param(("drop_after", {}), id="reply lost"),
        pytest.param(("status", {"code": 502, "done": True}), id="502, but done"),
        pytest.param(("html", {"done": True}), id="HTML, but done"),
        pytest.param(("garbage_json", {"done": True}), id="invalid JSON, but done"),
        pytest.param(("wrong_types", {"done": True}), id="wrong types, but done"),
        pytest.param(("truncate", {"done": True}), id="truncated, but done"),
        pytest.param(("drop_before", {}), id="never arrived"),
        pytest.param(("status", {"code": 429, "headers": {"Retry-After": "1"}}), id="rate limit"),
    ],
)
def test_promotion_is_paid_once_after_a_hostile_answer(
    server: EmulatorServer, fault: tuple[str, dict[str, Any]], deferrable: bool
) -> None:
    """Whether or not the request arrived, a repeat finds out, and the draft is paid for once."""
    server.faults.add("promote_generated", fault[0], **fault[1])
    task = create(promote=0, deferrable=deferrable)

    task.run()

    assert server.faults.all_met()
    assert paid(server) == BOTH
    assert task.ti.xcom["identity_code"] in server.state.v2.identities


@PATHS
def test_promotion_whose_repeat_is_lost_as_well_goes_on_in_a_retry(
    server: EmulatorServer, deferrable: bool
) -> None:
    """One try repeats a promotion once; the next try repeats it again."""
    server.faults.add("promote_generated", "drop_after", times=2)
    task = create(promote=0, deferrable=deferrable)
    with pytest.raises(PiktidSubmissionError, match="A retry asks again"):
        task.run()

    task.run()

    assert paid(server) == BOTH


def test_retry_without_a_record_pays_for_nothing(server: EmulatorServer) -> None:
    """Where no record can be kept, the drafts are found at PiktID, and the promotion is refused as done before."""
    task = create(promote=0)
    task.store = None
    task.run()
    code = task.ti.xcom["identity_code"]

    task.run()

    assert (paid(server), task.ti.xcom["identity_code"]) == (BOTH, code)


def test_another_choice_buys_no_drafts(server: EmulatorServer) -> None:
    """A clear with another ``promote`` promotes another draft of the same job; the first choice is free then."""
    first = create(promote=0)
    first.run()
    code = first.ti.xcom["identity_code"]
    second = create(promote=2)
    second.store, second.ti = first.store, first.ti
    second.run()

    assert paid(server) == [*BOTH, BOTH[1]]
    assert second.ti.xcom["identity_code"] != code
    first.run()
    assert (first.ti.xcom["identity_code"], len(paid(server))) == (code, 3)


def test_promotion_after_drafts_alone_buys_no_drafts(server: EmulatorServer) -> None:
    """``promote`` can be added to a task that has run without it."""
    drafts = create()
    drafts.run()
    task = create(promote=0)
    task.store, task.ti = drafts.store, drafts.ti

    task.run()

    assert paid(server) == BOTH


def test_drafts_that_failed_are_not_counted(server: EmulatorServer) -> None:
    """The first draft with a picture is number 0, so that an unattended task gets an identity."""
    server.faults.add("job", "fail_image", indices=[0])
    brief = [{"prompt": "one", "options": {"size": "1K"}}, {"prompt": "two", "options": {"size": "1K"}}]
    task = create(instructions=brief, promote=0)

    task.run()

    (draft,) = task.ti.xcom["drafts"]
    assert (draft["draft"], draft["image_index"]) == (0, 1)
    assert server.state.v2.promoted == {draft["image_result_id"]: task.ti.xcom["identity_code"]}


def test_draft_that_failed_names_those_that_exist(server: EmulatorServer) -> None:
    """If too few drafts have a picture, the error says how many there are; a retry buys none."""
    server.faults.add("job", "fail_image", indices=[0])
    brief = [{"prompt": "one", "options": {"size": "1K"}}, {"prompt": "two", "options": {"size": "1K"}}]
    task = create(instructions=brief, promote=1)

    for _ in range(2):
        with pytest.raises(AirflowFailException, match=r"no draft 1: there are 1.*Correct `promote`"):
            task.run()

    assert len(paid(server)) == 1


@pytest.mark.parametrize(
    ("settings", "error", "text"),
    [
        pytest.param({"max_identities": 0}, PiktidQuotaError, "Maximum identities", id="no room"),
        pytest.param({"credits": 20.0}, PiktidCreditsError, "credits", id="no credits"),
    ],
)
def test_refused_promotion_keeps_the_drafts(
    start: Start, settings: dict[str, Any], error: type[Exception], text: str
) -> None:
    """A promotion that the account has no room or credits for fails at once, and the drafts are not bought again."""
    server = start(**settings)
    task = create(promote=0)

    for _ in range(2):
        with pytest.raises(AirflowFailException, match=text) as caught:
            task.run()
        assert isinstance(caught.value.__cause__, error)

    assert paid(server) == BOTH[:1]


@pytest.mark.parametrize(
    ("limit", "bought"),
    [
        pytest.param(58, [], id="below"),
        pytest.param("{{ 59 }}", [], id="no number"),
        pytest.param(59, BOTH, id="enough"),
    ],
)
def test_budget_counts_drafts_and_promotion(server: EmulatorServer, limit: Any, bought: Any) -> None:
    """``max_credits`` is compared with drafts and promotion together, before anything is bought."""
    task = create(promote=0, max_credits=limit)

    if bought:
        task.run()
    else:
        with pytest.raises(AirflowFailException) as caught:
            task.run()
        assert isinstance(caught.value.__cause__, PiktidBudgetError | PiktidConfigError)

    assert paid(server) == bought


def test_max_images_counts_drafts(server: EmulatorServer) -> None:
    """Without images, the limit counts the drafts."""
    with pytest.raises(AirflowFailException, match="max_images=2"):
        create(max_images=2).run()
    assert paid(server) == []


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        pytest.param({"promote": 3}, "ask for 3", id="more than the drafts"),
        pytest.param({"promote": True}, "number of a draft", id="truth value"),
        pytest.param({"promote": -1}, "number of a draft", id="negative"),
        pytest.param({"promote": "first"}, "number of a draft", id="word"),
        pytest.param(
            {"promote": 0, "wait_for_completion": False}, "PiktidPromoteIdentityOperator", id="no wait"
        ),
        pytest.param({"instructions": []}, "describes a person", id="no instruction"),
        pytest.param({"instructions": [{"prompt": "a"}] * 11}, "11 items", id="eleven instructions"),
        pytest.param({"model": "onda"}, "orbita", id="engine"),
    ],
)
def test_bad_input_costs_nothing(server: EmulatorServer, changes: dict[str, Any], told: str) -> None:
    """The error names what to change."""
    with pytest.raises(AirflowFailException, match=told):
        create(**changes).run()
    assert paid(server) == []


@pytest.mark.parametrize("value", ["", "None", None])
def test_template_without_a_number_promotes_nothing(server: EmulatorServer, value: Any) -> None:
    """A parameter that is not set renders to one of these."""
    create(promote=value).run()
    assert paid(server) == BOTH[:1]


def test_drafts_are_downloaded_under_names_of_their_own(server: EmulatorServer, tmp_path: Path) -> None:
    """The download takes drafts, which have no source."""
    job_ids = create().run()
    download = PiktidDownloadOperator(task_id="download", job_ids=job_ids, output_path=str(tmp_path))

    result = TaskRun(lambda: download).run()

    rows = json.loads(Path(result["manifest"].removeprefix("file://")).read_text())
    assert len({row["file"] for row in rows}) == 3
    assert [(row["source"], row["sources"]) for row in rows] == [(None, [])] * 3
    assert all((tmp_path / row["file"]).is_file() for row in rows)


@PATHS
def test_draft_is_promoted_by_a_later_task(server: EmulatorServer, deferrable: bool) -> None:
    """A draft that somebody chose becomes an identity with a name of its own, once."""
    job_ids = create().run()
    task = promote(job_ids, draft="2", name="Berta", deferrable=deferrable)

    code = task.run()

    assert (code, task.run()) == (task.ti.xcom["identity_code"], code)
    assert server.state.v2.identities[code].name == "Berta"
    assert paid(server) == BOTH


def test_draft_that_was_promoted_before_costs_nothing(server: EmulatorServer) -> None:
    """Another task that asks for the promotion of the same draft gets the same identity."""
    task = create(promote=0)
    job_ids = task.run()

    assert promote(job_ids).run() == task.ti.xcom["identity_code"]
    assert paid(server) == BOTH


@pytest.mark.parametrize(
    ("changes", "error", "told"),
    [
        pytest.param(
            {"draft": 3}, PiktidConfigError, r"no draft 3: there are 3.*Correct `draft`", id="no draft"
        ),
        pytest.param({"name": "Anna"}, PiktidConflictError, "Pass another `name`", id="name taken"),
        pytest.param({"max_credits": 49}, PiktidBudgetError, "50 credits exceed max_credits", id="budget"),
        pytest.param({"draft": "first"}, PiktidConfigError, "draft must be the number", id="word"),
    ],
)
def test_refused_promotion_of_a_later_task_costs_nothing(
    server: EmulatorServer, changes: dict[str, Any], error: type[Exception], told: str
) -> None:
    """The error names the argument to change."""
    job_ids = create(promote=1).run()

    with pytest.raises(AirflowFailException, match=told) as caught:
        promote(job_ids, **changes).run()

    assert isinstance(caught.value.__cause__, error)
    assert paid(server) == BOTH


def test_draft_that_is_gone_is_not_found(server: EmulatorServer) -> None:
    """A draft that PiktID does not know fails with advice; nothing was promoted."""
    job_ids = create().run()
    server.faults.add("promote_generated", "status", code=404, body={"error": "Draft not found"})

    with pytest.raises(PiktidNotFoundError, match="made again since: correct `draft`"):
        promote(job_ids).run()
    assert paid(server) == BOTH[:1]


@PATHS
def test_identity_that_cannot_be_preprocessed_fails_the_task(
    server: EmulatorServer, deferrable: bool
) -> None:
    """The identity is paid for and named; a retry does not promote the draft again."""
    body = {"preprocessing_status": "failed", "error_message": "no face"}
    server.faults.add("identity_status", "status", code=200, body=body, times=None)
    task = create(promote=0, deferrable=deferrable)

    for _ in range(2):
        with pytest.raises(AirflowFailException, match="no face") as caught:
            task.run()
        assert isinstance(caught.value.__cause__, PiktidInvalidRequestError)
        assert task.ti.xcom["identity_code"] in server.state.v2.identities

    assert paid(server) == BOTH
