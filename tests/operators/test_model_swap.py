# SPDX-License-Identifier: Apache-2.0
"""The swap operator: results, options and invalid arguments."""

from __future__ import annotations

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException

from airflow_provider_piktid.client import PiktidClient
from airflow_provider_piktid.emulator import EmulatorServer
from airflow_provider_piktid.exceptions import PiktidBudgetError, PiktidConfigError, PiktidCreditsError
from tests.support.batch import jobs, swap_run
from tests.support.fixtures import Start

PATHS = pytest.mark.parametrize("deferrable", [True, False], ids=["deferrable", "sync"])


@PATHS
def test_swap_of_twelve_images_submits_two_jobs_in_order(server: EmulatorServer, deferrable: bool) -> None:
    """A batch is split into jobs of at most ten images; the ids are returned in submission order."""
    task = swap_run(server, 12, deferrable=deferrable)

    result = task.run()

    bought = jobs(server)
    assert [len(job["images"]) for job in bought] == [10, 2]
    assert result == [job["job_id"] for job in bought]


def test_swap_defers_only_if_deferrable(server: EmulatorServer) -> None:
    """A deferrable task defers once; a sync task does not defer."""
    deferred, held = swap_run(server, 1, deferrable=True), swap_run(server, 1, deferrable=False)

    deferred.run()
    held.run()

    assert (deferred.deferrals, held.deferrals) == (1, 0)


def test_swap_of_finished_jobs_does_not_defer(server: EmulatorServer) -> None:
    """A task whose jobs have ended does not defer."""
    task = swap_run(server, 1, deferrable=True)
    task.run()

    task.run()

    assert task.deferrals == 1


@PATHS
def test_swap_summary_counts_outputs_and_credits(server: EmulatorServer, deferrable: bool) -> None:
    """The summary in XCom counts jobs, images, outputs and credits, and contains no link."""
    task = swap_run(server, 3, num_variations=2, deferrable=deferrable)

    task.run()

    summary = task.ti.xcom["summary"]
    assert (summary["jobs"], summary["images"], summary["successful"], summary["failed"]) == (1, 3, 6, 0)
    assert summary["credits_used"] == 6
    assert "http" not in str(summary)


@pytest.mark.parametrize("fail_on_partial", [False, True])
def test_swap_reports_outputs_that_are_missing_from_the_results(
    server: EmulatorServer, fail_on_partial: bool
) -> None:
    """Three images were paid for and the results list one output and no failure: that is not a plain success."""
    output = {"image_index": 0, "status": "completed", "output": {"full_size": "https://cdn/0"}}
    body = {"job_id": "job", "status": "completed", "results": [output]}
    server.faults.add("job_results", "status", code=200, times=None, body=body)
    task = swap_run(server, 3, fail_on_partial=fail_on_partial)

    if fail_on_partial:
        with pytest.raises(AirflowFailException, match="2 of 3 outputs are missing"):
            task.run()
    else:
        task.run()
    assert (task.ti.xcom["summary"]["successful"], task.ti.xcom["summary"]["missing"]) == (1, 2)


def test_swap_options_reach_the_api(server: EmulatorServer) -> None:
    """The options of the operator are part of the submitted job."""
    task = swap_run(
        server,
        1,
        model="nano_banana_2",
        num_variations=2,
        post_process=True,
        add_ai_watermark=True,
        use_anchor=True,
        swap_options={"seed": 7},
    )

    task.run()

    (job,) = jobs(server)
    wanted = {"model": "nano_banana_2", "num_variations": 2, "add_ai_watermark": True, "use_anchor": True}
    assert wanted.items() <= job["options"].items()
    assert task.ti.xcom["summary"]["successful"] == 2


def test_swap_without_waiting_returns_after_submission(start: Start) -> None:
    """With ``wait_for_completion=False`` the task returns the job ids after submission and does not defer."""
    server = start(job_seconds=60)
    task = swap_run(server, 1, wait_for_completion=False, deferrable=True)

    assert task.run() == [jobs(server)[0]["job_id"]]
    assert task.deferrals == 0


@PATHS
def test_swap_with_post_processing_waits_for_it(start: Start, deferrable: bool) -> None:
    """With ``post_process=True`` the task ends after post-processing has completed."""
    server = start(post_process_seconds=0.5)
    task = swap_run(server, 1, post_process=True, deferrable=deferrable)

    (job_id,) = task.run()

    with PiktidClient("piktid-emulator", base_url=server.url) as client:
        assert client.get_job(job_id).post_processing_status == "completed"


@PATHS
def test_swap_deletes_its_own_notifications_only(server: EmulatorServer, deferrable: bool) -> None:
    """The task deletes the notifications of its own jobs that it read, and keeps the others."""
    foreign = server.state.publish("batch_edit", {"id_task": "somebody-else", "status": "completed"})
    task = swap_run(server, 1, deferrable=deferrable)

    task.run()

    left = {note.id for note in server.state.v2.notifications.current()}
    read = {number for event in task.events for number in event["notification_ids"]}
    assert foreign in left
    assert server.state.counters.requests["notification_delete"] >= max(1, len(read))
    assert not left & read


def test_swap_link_leads_to_the_job(server: EmulatorServer) -> None:
    """The task pushes the URL of the job's page for the link in the Airflow UI."""
    task = swap_run(server, 1)

    (job_id,) = task.run()

    assert task.ti.xcom["piktid_job_url"] == f"{server.url}/#{job_id}"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        pytest.param({"images": []}, "images is empty", id="no images"),
        pytest.param({"images": "file"}, "must be a list", id="a string"),
        pytest.param({"images": ["a", "a"]}, "twice", id="the same image twice"),
        pytest.param({"num_variations": 5}, "from 1 to 4", id="five variations"),
        pytest.param({"num_variations": "many"}, "from 1 to 4", id="not a number"),
        pytest.param({"model": "dall-e"}, "nano_banana_pro", id="unknown engine"),
        pytest.param({"identity_code": "Nobody"}, "'Nobody'", id="unknown identity"),
        pytest.param({"poll_interval": 0.1}, "poll_interval", id="polling too often"),
        pytest.param({"on_lost_reply": "hope"}, "on_lost_reply", id="unknown policy"),
    ],
)
def test_swap_with_invalid_arguments_fails_permanently(
    server: EmulatorServer, arguments: dict[str, object], words: str
) -> None:
    """Invalid arguments fail the task without a retry, and nothing is bought."""
    task = swap_run(server, **({"images": ["file-1"]} | arguments))  # type: ignore[arg-type]

    with pytest.raises(AirflowFailException, match=words) as caught:
        task.run()

    assert isinstance(caught.value.__cause__, PiktidConfigError)
    assert jobs(server) == []


@pytest.mark.parametrize(
    ("limit", "words"),
    [({"max_images": 2}, "max_images=2"), ({"max_credits": 5}, "max_credits=5")],
    ids=["images", "credits"],
)
def test_swap_over_budget_buys_nothing(server: EmulatorServer, limit: dict[str, int], words: str) -> None:
    """A batch larger than ``max_images`` or ``max_credits`` is refused before the first submission."""
    task = swap_run(server, 3, num_variations=2, **limit)

    with pytest.raises(AirflowFailException, match=words) as caught:
        task.run()

    assert isinstance(caught.value.__cause__, PiktidBudgetError)
    assert jobs(server) == []


def test_swap_out_of_credits_fails_permanently(start: Start) -> None:
    """Out of credits (HTTP 402), the task fails without a retry and reports the required credits."""
    server = start(credits=1)

    with pytest.raises(AirflowFailException, match="piktid_default") as caught:
        swap_run(server, 3).run()

    assert isinstance(caught.value.__cause__, PiktidCreditsError)
    assert caught.value.__cause__.required_credits == 3


def test_swap_template_fields_include_the_connection() -> None:
    """Connection id, images, identity, project, limits and ``rerun_key`` are template fields."""
    from airflow_provider_piktid.operators.model_swap import PiktidModelSwapOperator

    expected = {"piktid_conn_id", "images", "identity_code", "project_id", "rerun_key"}
    assert expected | {"max_images", "max_credits"} <= set(PiktidModelSwapOperator.template_fields)


def test_swap_link_fragment_exists_on_the_emulators_page(server: EmulatorServer) -> None:
    """The fragment of the link is the id of an element on the emulator's page."""
    import requests

    task = swap_run(server, 1)
    task.run()

    address, _, place = task.ti.xcom["piktid_job_url"].partition("#")

    assert f'id="{place}"' in requests.get(address, timeout=10).text
