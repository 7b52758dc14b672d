# SPDX-License-Identifier: Apache-2.0
"""The job sensor: it waits for a job and raises for its outcome as the swap operator does."""

from __future__ import annotations

import importlib.util
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import (
    AirflowFailException,
    AirflowSensorTimeout,
    AirflowSkipException,
)

from airflow_provider_piktid.emulator import EmulatorServer
from airflow_provider_piktid.exceptions import (
    PiktidEventError,
    PiktidJobAbortedError,
    PiktidJobFailedError,
    PiktidJobTimeout,
    PiktidNotFoundError,
    PiktidPartialResultError,
)
from airflow_provider_piktid.sensors import job as sensor_module
from airflow_provider_piktid.sensors.job import PiktidJobSensor
from tests.support.batch import after_status, buy, jobs
from tests.support.fixtures import Start
from tests.support.service import connection_json
from tests.support.tasks import TaskInstance, TaskRun

BOTH = pytest.mark.parametrize("deferrable", [True, False], ids=["deferrable", "sync"])


def sensor(job_id: str, **arguments: Any) -> TaskRun:
    fixed: dict[str, Any] = {"task_id": "wait", "poke_interval": 0.1, "timeout": 20}
    return TaskRun(lambda: PiktidJobSensor(job_id=job_id, **(fixed | arguments)))


@BOTH
def test_sensor_waits_until_the_job_ends(start: Start, deferrable: bool) -> None:
    """The sensor ends with the job, submits nothing, and pushes the job's link."""
    server = start(job_seconds=600)
    job_id = buy(server)
    task = sensor(job_id, deferrable=deferrable)

    with after_status(server, server.state.complete_job, job_id):
        task.run()

    assert task.deferrals == (1 if deferrable else 0)
    assert len(jobs(server)) == 1
    assert task.ti.xcom["piktid_job_url"] == f"{server.url}/#{job_id}"


def test_sensor_of_an_ended_job_does_not_defer(server: EmulatorServer) -> None:
    """The sensor of an ended job does not defer."""
    job_id = buy(server)
    server.state.complete_job(job_id)
    task = sensor(job_id, deferrable=True)

    task.run()

    assert task.deferrals == 0


@BOTH
@pytest.mark.parametrize(
    ("fault", "error"),
    [("fail_job", PiktidJobFailedError), ("abort_job", PiktidJobAbortedError)],
    ids=["failed", "aborted"],
)
def test_sensor_of_a_failed_job_fails_permanently(
    server: EmulatorServer, deferrable: bool, fault: str, error: type[Exception]
) -> None:
    """The sensor of a failed or aborted job fails without a retry, and advises no parameter that it does not have."""
    server.faults.add("job", fault)

    with pytest.raises(AirflowFailException, match=r"submit them where .* came from") as caught:
        sensor(buy(server), deferrable=deferrable).run()

    assert isinstance(caught.value.__cause__, error)
    assert "rerun_key" not in str(caught.value)


@BOTH
def test_sensor_of_a_partial_result(server: EmulatorServer, deferrable: bool) -> None:
    """A partial result succeeds by default and fails with ``fail_on_partial``."""
    server.faults.add("job", "fail_image")
    job_id = buy(server, images=2)

    sensor(job_id, deferrable=deferrable).run()
    with pytest.raises(AirflowFailException) as caught:
        sensor(job_id, deferrable=deferrable, fail_on_partial=True).run()

    assert isinstance(caught.value.__cause__, PiktidPartialResultError)


@BOTH
def test_sensor_raises_airflow_sensor_timeout(start: Start, deferrable: bool) -> None:
    """The sensor raises ``AirflowSensorTimeout`` at its timeout."""
    server = start(job_seconds=60)

    with pytest.raises(AirflowSensorTimeout) as caught:
        sensor(buy(server), deferrable=deferrable, timeout=0.3).run()

    if deferrable:
        assert isinstance(caught.value.__cause__, PiktidJobTimeout)
        assert "still running" in str(caught.value)


@BOTH
@pytest.mark.parametrize("switch", ["soft_fail", "never_fail"])
@pytest.mark.parametrize("end", ["fails", "times out", "is ended already"])
def test_sensor_skips_with_soft_fail_and_never_fail(
    start: Start, deferrable: bool, switch: str, end: str
) -> None:
    """``soft_fail`` and ``never_fail`` skip the task, deferrable or sync."""
    if (end, switch, deferrable) == ("times out", "never_fail", False):
        pytest.skip("Airflow itself lets a poking sensor time out all the same")
    server = start(job_seconds=60 if end == "times out" else 0.3)
    if end != "times out":
        server.faults.add("job", "fail_job")
    job_id = buy(server)
    if end == "is ended already":
        server.state.fail_job(job_id)

    with pytest.raises(AirflowSkipException):
        sensor(
            job_id, deferrable=deferrable, timeout=0.4 if end == "times out" else 120, **{switch: True}
        ).run()


@BOTH
def test_sensor_of_an_unknown_job_fails_permanently(
    server: EmulatorServer, deferrable: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The sensor of an unknown job fails without a retry, and the error names the job id."""
    monkeypatch.setattr(sensor_module, "LOST_SECONDS", 0.0)

    with pytest.raises(AirflowFailException, match=r"'job-x'.*Correct `job_id`") as caught:
        sensor("job-x", deferrable=deferrable).run()

    assert isinstance(caught.value.__cause__, PiktidNotFoundError)


@BOTH
def test_sensor_accepts_404_for_a_new_job(start: Start, deferrable: bool) -> None:
    """HTTP 404 for a new job does not fail the sensor."""
    server = start(variants={"fresh_404": "3"})
    job_id = buy(server)

    sensor(job_id, deferrable=deferrable, poke_interval=0.1).run()

    assert server.state.counters.statuses["job_status", 404] >= 1


@pytest.mark.skipif(
    importlib.util.find_spec("airflow.sdk") is None, reason="Airflow 2 asks its database, and no task can"
)
def test_rescheduled_sensor_counts_from_its_first_poke(server: EmulatorServer) -> None:
    """In ``reschedule`` mode the tolerance for HTTP 404 is counted from the first poke."""

    class Rescheduled(TaskInstance):
        def get_first_reschedule_date(self, context: Any) -> datetime:
            return datetime.now(UTC) - timedelta(seconds=60)

    task = sensor("job-x", mode="reschedule")
    task.ti = Rescheduled()

    with pytest.raises(AirflowFailException, match="job-x"):
        task.run()


@BOTH
def test_sensor_with_a_wrong_token_fails_permanently(
    server: EmulatorServer, deferrable: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A wrong token fails the sensor without a retry, and the error does not contain it."""
    monkeypatch.setenv("AIRFLOW_CONN_PIKTID_DEFAULT", connection_json(server.url, password="wrong-token"))

    with pytest.raises(AirflowFailException, match=r"^piktid_default: ") as caught:
        sensor("job-x", deferrable=deferrable).run()

    assert "wrong-token" not in str(caught.value)


@pytest.mark.parametrize("event", [None, {"status": "slot"}, {"status": "well"}], ids=str)
def test_sensor_refuses_an_unexpected_event(server: EmulatorServer, event: Any) -> None:
    """An unexpected trigger event raises ``PiktidEventError``."""
    with pytest.raises(PiktidEventError):
        PiktidJobSensor(task_id="wait", job_id="j").execute_complete({"ti": TaskInstance()}, event)


def test_sensor_template_fields() -> None:
    """Connection id and job id are the template fields."""
    assert set(PiktidJobSensor.template_fields) == {"piktid_conn_id", "job_id"}
