# SPDX-License-Identifier: Apache-2.0
"""The payload of asset events, its filter and its reader."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest

from airflow_provider_piktid.jobs.ended import (
    EndedJob,
    JobFilter,
    asset_extra,
    ended_job_ids,
    ended_jobs,
    filter_of,
    payload,
    reports_end,
)
from airflow_provider_piktid.models import Notification
from airflow_provider_piktid.models.v2 import Job


@dataclass
class Event:
    """The part of an asset event that is read."""

    extra: Any = field(default_factory=dict)


def event(*job_ids: str, by: str = "from_trigger") -> Event:
    return Event({by: True, "payload": payload(EndedJob(job_id, "completed") for job_id in job_ids)})


def job(**fields: Any) -> Job:
    return Job.model_validate({"job_id": "job-1", "job_type": "model_swap", "status": "completed"} | fields)


@pytest.mark.parametrize(
    ("events", "ids"),
    [
        pytest.param({"asset": [event("a", "b"), event("c")]}, ["a", "b", "c"], id="triggering events"),
        pytest.param({"asset": [event("a")], "other": [event("b")]}, ["a", "b"], id="two assets"),
        pytest.param([event("a"), event("b")], ["a", "b"], id="events of one inlet"),
        pytest.param([event("a", by="from_webhook")], ["a"], id="webhook"),
        pytest.param([event("a", by="from_rest_api")], ["a"], id="receiver of its own"),
        pytest.param([vars(event("a"))], ["a"], id="events as mappings"),
        pytest.param([event("a", "b"), event("a")], ["b", "a"], id="reported twice"),
        pytest.param(None, [], id="manual run"),
        pytest.param({}, [], id="no events"),
        pytest.param({"files": [Event({"path": "s3://x"}), Event(None)]}, [], id="events of another asset"),
        pytest.param([Event({"payload": "text"}), Event({"payload": {"jobs": None}})], [], id="no jobs"),
        pytest.param(
            [Event({"payload": {"jobs": ["a", {}, {"job_id": 3}, {"job_id": ""}]}})], [], id="no ids"
        ),
        pytest.param(
            [Event({"payload": {"jobs": [{"job_id": "a"}], "version": 2}})], ["a"], id="later version"
        ),
    ],
)
def test_job_ids_are_read_from_events(events: Any, ids: list[str]) -> None:
    """Each job once, in the order of its last event; what is not of the expected form is skipped."""
    assert ended_job_ids(events) == ids


def test_last_end_of_a_job_counts() -> None:
    """A job that failed and completed later is reported as completed."""
    events = [Event({"payload": payload([EndedJob("a", status)])}) for status in ("failed", "completed")]
    assert [entry["status"] for entry in ended_jobs(events)] == ["completed"]


@pytest.mark.parametrize(
    ("arguments", "fields", "takes"),
    [
        pytest.param({}, {}, True, id="default"),
        pytest.param({}, {"status": "failed"}, False, id="default takes no failure"),
        pytest.param({"statuses": ["failed", "aborted"]}, {"status": "aborted"}, True, id="failures"),
        pytest.param({}, {"job_type": "identity_preprocessing"}, False, id="type without pictures"),
        pytest.param(
            {"job_types": ["identity_preprocessing"]},
            {"job_type": "identity_preprocessing"},
            True,
            id="by name",
        ),
        pytest.param({"job_types": ["model_swap"]}, {"job_type": None}, False, id="type unknown"),
        pytest.param({}, {"job_type": None}, True, id="type unknown, all wanted"),
        pytest.param({"projects": ["spring"]}, {"project_text": "spring"}, True, id="name of the project"),
        pytest.param(
            {"projects": ["prj-1"]}, {"project_text": "spring", "project_key": "prj-1"}, True, id="key"
        ),
        pytest.param({"projects": ["7"]}, {"project_id": 7}, True, id="number"),
        pytest.param({"projects": ["spring"]}, {}, False, id="no project"),
    ],
)
def test_filter_takes_jobs(arguments: dict[str, Any], fields: dict[str, Any], takes: bool) -> None:
    """Status, type and project must fit, as far as they are given."""
    wanted = JobFilter.checked(**({"statuses": ["completed"]} | arguments))
    assert wanted.takes(job(**fields)) is takes


BAD = [
    pytest.param({"statuses": "completed"}, id="text instead of a list"),
    pytest.param({"statuses": []}, id="empty"),
    pytest.param({"statuses": None}, id="none"),
    pytest.param({"statuses": ["done"]}, id="unknown word"),
    pytest.param({"statuses": 5}, id="number"),
    pytest.param({"job_types": "model_swap"}, id="type as text"),
    pytest.param({"job_types": [{}]}, id="type is an object"),
    pytest.param({"projects": [7]}, id="project is a number"),
    pytest.param({"projects": [""]}, id="empty project"),
]


@pytest.mark.parametrize("arguments", BAD)
def test_invalid_filter_is_named(arguments: dict[str, Any]) -> None:
    """The message names the argument."""
    with pytest.raises(ValueError, match=next(iter(arguments))):
        JobFilter.checked(**({"statuses": ["completed"]} | arguments))


def test_filter_is_found_in_the_extra_of_its_asset() -> None:
    """The receiver finds the filter again, for the same connection only."""
    wanted = JobFilter(("failed",), ("model_swap",), ("spring",))
    extra = asset_extra("piktid_eu", wanted)

    assert filter_of(extra, "piktid_eu") == wanted
    assert filter_of(extra, "piktid_default") is None


@pytest.mark.parametrize("extra", [None, {}, {"piktid": "x"}, {"piktid": {"piktid_conn_id": "c"}}], ids=str)
def test_extra_of_another_asset_has_no_filter(extra: Any) -> None:
    """Assets that are not for jobs of PiktID are left alone."""
    assert filter_of(extra, "c") is None


@pytest.mark.parametrize(
    ("name", "status", "ends"),
    [
        ("batch_edit", "completed", True),
        ("batch_edit", "aborted", True),
        ("batch_edit", "processing", False),
        ("batch_edit", None, False),
        ("completed", None, True),
        ("error", None, True),
        ("image_result", "completed", False),
        ("identity_preprocessing", "completed", True),
        ("ping", "completed", False),
    ],
)
def test_notification_reports_an_end(name: str, status: str | None, ends: bool) -> None:
    """The status of one image is not that of its job."""
    assert reports_end(Notification(id=1, name=name, data={"job_id": "a", "status": status})) is ends
