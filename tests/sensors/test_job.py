# SPDX-License-Identifier: Apache-2.0
"""The sensor waits for a job that something else started, and judges it as the swap operator does."""

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
from tests.support.batch import buy, jobs
from tests.support.fixtures import Start
from tests.support.service import connection_json
from tests.support.tasks import TaskInstance, TaskRun

BOTH = pytest.mark.parametrize("deferrable", [True, False], ids=["deferrable", "sync"])


def sensor(job_id: str, **arguments: Any) -> TaskRun:
    fixed: dict[str, Any] = {"task_id": "wait", "poke_interval": 0.1, "timeout": 20}
    return TaskRun(lambda: PiktidJobSensor(job_id=job_id, **(fixed | arguments)))


@BOTH
def test_sensor_waits_for_the_end(server: EmulatorServer, deferrable: bool) -> None:
    """It ends with the job, buys nothing, and leaves the link to it."""
    job_id = buy(server)
    task = sensor(job_id, deferrable=deferrable)

    task.run()

    assert task.deferrals == (1 if deferrable else 0)
    assert len(jobs(server)) == 1
    assert task.ti.xcom["piktid_job_url"] == f"{server.url}/#{job_id}"


def test_sensor_of_an_ended_job_does_not_defer(server: EmulatorServer) -> None:
    """A job that ended long ago costs no trigger."""
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
def test_sensor_of_a_bad_end_fails(
    server: EmulatorServer, deferrable: bool, fault: str, error: type[Exception]
) -> None:
    """Both paths judge alike; a retry would see the same end, so there is none."""
    server.faults.add("job", fault)

    with pytest.raises(AirflowFailException) as caught:
        sensor(buy(server), deferrable=deferrable).run()

    assert isinstance(caught.value.__cause__, error)


@BOTH
def test_sensor_of_a_partial_result(server: EmulatorServer, deferrable: bool) -> None:
    """Single failed images warn, or fail on request."""
    server.faults.add("job", "fail_image")
    job_id = buy(server, images=2)

    sensor(job_id, deferrable=deferrable).run()
    with pytest.raises(AirflowFailException) as caught:
        sensor(job_id, deferrable=deferrable, fail_on_partial=True).run()

    assert isinstance(caught.value.__cause__, PiktidPartialResultError)


@BOTH
def test_sensor_times_out_as_airflow_sensors_do(start: Start, deferrable: bool) -> None:
    """Neither path is retried then; the job still runs."""
    server = start(job_seconds=60)

    with pytest.raises(AirflowSensorTimeout) as caught:
        sensor(buy(server), deferrable=deferrable, timeout=0.3).run()

    if deferrable:
        assert isinstance(caught.value.__cause__, PiktidJobTimeout)
        assert "still running" in str(caught.value)


@BOTH
@pytest.mark.parametrize("switch", ["soft_fail", "never_fail"])
@pytest.mark.parametrize("end", ["fails", "times out", "is ended already"])
def test_sensor_skips_where_told_to(start: Start, deferrable: bool, switch: str, end: str) -> None:
    """``soft_fail`` and ``never_fail`` mean the same with and without a trigger."""
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
            job_id, deferrable=deferrable, timeout=0.4 if end == "times out" else 20, **{switch: True}
        ).run()


@BOTH
def test_sensor_of_an_unknown_job_fails(
    server: EmulatorServer, deferrable: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After the time that a fresh job may take to show, the id is wrong; the message names it."""
    monkeypatch.setattr(sensor_module, "FRESH_SECONDS", 0.0)

    with pytest.raises(AirflowFailException, match=r"'job-x'.*Correct `job_id`") as caught:
        sensor("job-x", deferrable=deferrable).run()

    assert isinstance(caught.value.__cause__, PiktidNotFoundError)


@BOTH
def test_sensor_waits_for_a_fresh_job_to_show(start: Start, deferrable: bool) -> None:
    """Behind a swap that does not wait the job may be a second old."""
    server = start(variants={"fresh_404": "3"})
    job_id = buy(server)

    sensor(job_id, deferrable=deferrable, poke_interval=0.1).run()

    assert server.state.counters.statuses["job_status", 404] >= 1


@pytest.mark.skipif(
    importlib.util.find_spec("airflow.sdk") is None, reason="Airflow 2 asks its database, and no task can"
)
def test_rescheduled_sensor_counts_from_its_first_poke(server: EmulatorServer) -> None:
    """Each poke is another process; the tolerance for a fresh job is counted over all of them."""

    class Rescheduled(TaskInstance):
        def get_first_reschedule_date(self, context: Any) -> datetime:
            return datetime.now(UTC) - timedelta(seconds=60)

    task = sensor("job-x", mode="reschedule")
    task.ti = Rescheduled()

    with pytest.raises(AirflowFailException, match="job-x"):
        task.run()


@BOTH
def test_sensor_with_a_wrong_token_fails_at_once(
    server: EmulatorServer, deferrable: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One line with the connection, no retry, no token."""
    monkeypatch.setenv("AIRFLOW_CONN_PIKTID_DEFAULT", connection_json(server.url, password="wrong-token"))

    with pytest.raises(AirflowFailException, match=r"^piktid_default: ") as caught:
        sensor("job-x", deferrable=deferrable).run()

    assert "wrong-token" not in str(caught.value)


@pytest.mark.parametrize("event", [None, {"status": "slot"}, {"status": "well"}], ids=str)
def test_sensor_does_not_take_a_strange_event_for_success(server: EmulatorServer, event: Any) -> None:
    """Only the events of its own trigger count."""
    with pytest.raises(PiktidEventError):
        PiktidJobSensor(task_id="wait", job_id="j").execute_complete({"ti": TaskInstance()}, event)


def test_sensor_template_fields() -> None:
    """The id usually comes from another task, and the connection may be a template."""
    assert set(PiktidJobSensor.template_fields) == {"piktid_conn_id", "job_id"}
