# SPDX-License-Identifier: Apache-2.0
"""The probe against an emulator under each of its variants, and against one that misbehaves."""

from __future__ import annotations

import json
import re
import time
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_piktid.client import PiktidClient
from airflow_provider_piktid.emulator import EmulatorServer
from airflow_provider_piktid.emulator.variants import VARIANTS
from airflow_provider_piktid.probe.facts import FACTS
from airflow_provider_piktid.probe.findings import Findings, word
from airflow_provider_piktid.probe.history import checksum_of
from airflow_provider_piktid.probe.run import Plan, drawn_picture, run_probe
from tests.support.batch import buy
from tests.support.service import emulator

LOGIN = ("demo@example.com", "piktid-emulator")

#: Variants that can be set together. Fact to answer is the same as variant to value, but for those in `NAMED`.
PROFILES: dict[str, dict[str, str]] = {
    "defaults": {
        "project_status": "201",
        "project_conflict": "with_id",
        "unknown_fields": "ignore",
        "upload_strict": "off",
        "echo_project": "off",
        "validation_status": "422",
        "billing": "usage",
        "notifications_post": "on",
        "results": "full",
        "result_url": "both",
        "draft_id": "id",
        "checksum": "none",
        "zip_use": "many",
        "job_status": "202",
        "fresh_404": "0",
        "gallery_pending": "inputs",
        "partial_rows": "all",
        "events": "both",
        "job_id_key": "both",
        "v1_image_id": "both",
        "v1_coordinates": "top",
        "v1_generate_reply": "task",
        "v1_notification_fields": "both",
        "v1_notification_keyword": "string",
        "v1_id_person": "int",
        "v1_delete_unknown": "200",
    },
    "second values": {
        "project_status": "200",
        "project_conflict": "bare",
        "unknown_fields": "reject",
        "echo_project": "on",
        "validation_status": "400",
        "billing": "balance",
        "notifications_post": "404",
        "result_url": "output",
        "draft_id": "both",
        "checksum": "etag",
        "zip_use": "once",
        "job_status": "200",
        "fresh_404": "1",
        "gallery_pending": "no_images",
        "partial_rows": "finished",
        "events": "docs",
        "job_id_key": "job_id",
        "v1_image_id": "id_image",
        "v1_coordinates": "nested",
        "v1_generate_reply": "empty",
        "v1_notification_fields": "id",
        "v1_notification_keyword": "object",
        "v1_id_person": "text",
        "v1_delete_unknown": "404",
    },
    "third values": {
        "upload_strict": "on",
        "result_url": "url",
        "draft_id": "image_result_id",
        "checksum": "content_md5",
        "job_status": "201",
        "gallery_pending": "hidden",
        "events": "seed",
        "job_id_key": "id_task",
        "v1_image_id": "image_id",
        "v1_notification_keyword": "absent",
        "v1_notification_fields": "timestamp",
    },
    "fourth values": {"results": "g1", "checksum": "x_goog_hash", "v1_notification_fields": "none"},
    "fifth values": {"results": "seed", "checksum": "x_amz_checksum"},
    "sixth values": {"checksum": "opaque_etag"},
}

#: Values that the report calls otherwise.
NAMED = {
    ("notifications_post", "404"): "absent",
    ("fresh_404", "0"): "not at all",
    ("fresh_404", "1"): "for a while",
    ("gallery_pending", "no_images"): "listed",
    # Both are checked by decoding: such an ETag proves nothing.
    ("checksum", "opaque_etag"): "none",
}

#: Of jobs that have failed: see the tests below.
OF_FAILURES = {"failed_output", "partial_job", "refund_failed"}

#: Variants that the probe does not look for; the report says why.
NOT_PROBED = {
    *("images_limit", "post_process_default", "identity_status", "identity_conflict", "identity_face"),
    *("rate_429", "rate_counts", "retry_after", "engines", "zip_expired", "undecodable", "unuploaded"),
    *("post_process_event", "refresh_reuse", "v1_refresh", "v1_too_many_persons", "v1_unusable"),
    # Only a paid packshot would show it.
    "packshot_index",
    *("v1_keyword_key", "v1_locations", "v1_category", "v1_error_ids", "v1_poll_limit"),
}

#: Addresses, tokens, logins, identities, ids of jobs, projects and files.
SECRETS = re.compile(
    r"https?:|127\.0\.0\.1|piktid-emulator|demo@example|PiktidSummer|job_[0-9a-f]{8}|prj-|[0-9a-f]{8}-[0-9a-f]{4}-"
)

CASES = [(profile, name) for profile, chosen in PROFILES.items() for name in chosen]


def probed(server: EmulatorServer, **options: Any) -> dict[str, Any]:
    """Probe an emulator with short waits, and check that the report can be attached to an issue."""
    fixed: dict[str, Any] = {
        "token": "piktid-emulator",
        "v1_login": LOGIN,
        "stream_seconds": 3.0,
        "timeout": 20.0,
    }
    report = run_probe(Plan(server.url, f"{server.url}/api", **(fixed | options)))
    text = json.dumps(report)
    assert SECRETS.findall(text) == []
    assert [row["fact"] for row in report["facts"]] == list(FACTS)
    assert all((row["answer"] is None) != (row["unknown_because"] is None) for row in report["facts"])
    return report


def answers(report: dict[str, Any]) -> dict[str, Any]:
    """Map each fact to its answer."""
    return {row["fact"]: row["answer"] for row in report["facts"]}


@cache
def under(profile: str) -> dict[str, Any]:
    """The report of a probe that spends, under some variants."""
    settings = {"job_seconds": 4.0, "generate_seconds": 0.2, "mask_seconds": 0.2}
    with emulator(**settings, variants=PROFILES[profile]) as server:
        return probed(server, spend=True, person=True)


@pytest.mark.parametrize(("profile", "name"), CASES, ids=[f"{n}={PROFILES[p][n]}" for p, n in CASES])
def test_report_names_the_variant(profile: str, name: str) -> None:
    """Whatever the service does, the report says which of the documented variants that is."""
    value = PROFILES[profile][name]
    row = next(row for row in under(profile)["facts"] if row["fact"] == name)
    assert (row["answer"], row["unknown_because"]) == (NAMED.get((name, value), value), None)
    assert row["means"]


def test_every_variant_is_probed_or_not_for_a_reason() -> None:
    """A new variant of the emulator needs a place here."""
    probed_ones = {name for _, name in CASES} | OF_FAILURES
    assert probed_ones | NOT_PROBED == set(VARIANTS)
    values = {(name, value) for chosen in PROFILES.values() for name, value in chosen.items()}
    missing = [
        f"{name}={value}"
        for name in probed_ones - OF_FAILURES
        for value in VARIANTS[name].values
        if (name, value) not in values
    ]
    assert missing == []


def test_default_service_has_no_surprises() -> None:
    """Every field and word of the emulator is in the sources; what was bought is said."""
    report = under("defaults")
    assert (report["surprises"], report["ended_early"]) == ([], None)
    assert report["credits"] == 2.0
    assert "operators: credits_per_output=1" in report["advice"]
    assert "one job with one output" in report["left_behind"]


def test_free_probe_buys_nothing_and_stays_small(capsys: pytest.CaptureFixture[str]) -> None:
    """Without --spend the probe costs nothing; a second one uses the same project."""
    with emulator() as server:
        report = probed(server)
        again = probed(server)
        assert server.state.ledger() == []
        assert len(server.state.v2.projects) == 1
    assert (report["credits"], report["requests"] <= 25) == (0.0, True)
    assert answers(again)["project_status"] is None


@pytest.mark.parametrize(
    ("fault", "variants", "fact", "answer"),
    [
        pytest.param("fail_job", {}, "failed_billed", "stated, billed", id="failed job is billed"),
        pytest.param(
            "fail_job", {"refund_failed": "yes"}, "failed_billed", "stated, free", id="failed job is free"
        ),
        pytest.param("fail_job", {"results": "g1"}, "failed_billed", "not stated", id="nothing is said"),
        pytest.param("fail_image", {}, "partial_job", "completed", id="partial job completes"),
        pytest.param(
            "fail_image", {"partial_job": "failed"}, "partial_job", "failed", id="partial job fails"
        ),
        pytest.param("fail_image", {}, "failed_output", "object", id="output of a failed image"),
        pytest.param("fail_image", {"failed_output": "null"}, "failed_output", "null", id="no output"),
    ],
)
def test_jobs_of_the_account_show_what_failures_cost(
    fault: str, variants: dict[str, str], fact: str, answer: str
) -> None:
    """Jobs that have failed before tell it without a credit."""
    with emulator(variants=variants, job_seconds=0.1) as server:
        server.state.faults.add("job", fault, indices=[0])
        job_id = buy(server, 2)
        with PiktidClient("piktid-emulator", base_url=server.url) as client:
            while not client.get_job(job_id).done:
                time.sleep(0.05)
        assert answers(probed(server))[fact] == answer


MISBEHAVIOUR: list[tuple[str, dict[str, Any]]] = [
    ("status", {"code": 401}),
    ("status", {"code": 429, "headers": {"Retry-After": "7"}}),
    ("status", {"code": 500}),
    ("html", {}),
    ("garbage_json", {}),
    ("wrong_types", {}),
    ("extra_fields", {}),
    ("drop", {}),
    ("truncate", {}),
    ("redirect", {}),
]


@pytest.mark.parametrize("after", [0, 6], ids=["at once", "in the middle"])
@pytest.mark.parametrize(
    ("kind", "more"), MISBEHAVIOUR, ids=[f"{k}{m.get('code', '')}" for k, m in MISBEHAVIOUR]
)
def test_probe_ends_with_what_it_knows(kind: str, more: dict[str, Any], after: int) -> None:
    """A service that refuses, answers nonsense or changes in the middle ends no probe without a report."""
    with emulator() as server:
        server.state.faults.add("any", kind, times=None, after=after, **more)
        report = probed(server, spend=True)
        assert server.state.ledger() == [] or kind in ("extra_fields", "wrong_types")
    assert report["decided"] > 0 or after == 0


@pytest.mark.parametrize("fault", ["drop_after", "html", "status"])
def test_paid_request_without_a_reply_is_said(fault: str) -> None:
    """It may be billed, so the report says where to look; it is not sent again."""
    with emulator() as server:
        more: dict[str, Any] = {
            "drop_after": {},
            "html": {"done": True},
            "status": {"done": True, "code": 502},
        }
        server.state.faults.add("model_swap", fault, **more[fault])
        report = probed(server, spend=True)
        assert len(server.state.ledger()) == 1
    assert any("look at the account" in line for line in report["left_behind"])
    assert "billed" in next(r["unknown_because"] for r in report["facts"] if r["fact"] == "fresh_404")


def test_slow_service_ends_the_probe_in_time() -> None:
    """The whole run has a limit, and so has each request."""
    with emulator(latency=1.0) as server:
        report = probed(server, budget=4.0, timeout=0.5)
        assert report["seconds"] < 60
        assert report["ended_early"]


def test_retry_after_is_noted_if_the_service_refuses() -> None:
    """The probe provokes no refusal, but learns from one."""
    with emulator() as server:
        server.state.faults.add("model_swap", "status", code=429, headers={"Retry-After": "7"})
        found = answers(probed(server, spend=True))
    assert (found["retry_after"], found["job_status"]) == ("seconds", None)


def test_new_fields_are_reported_by_name_and_type() -> None:
    """What no source mentions is a surprise; its value is not shown."""
    with emulator() as server:
        server.state.faults.add("upload", "extra_fields", times=None)
        report = probed(server)
    assert any(line.startswith("request an upload: unknown field") for line in report["surprises"])


def test_person_needs_a_person() -> None:
    """Without a face nothing is bought on v1."""
    with emulator(faces=0) as server:
        report = probed(server, person=True)
    assert report["credits"] == 0.0
    assert "found no person" in next(
        r["unknown_because"] for r in report["facts"] if r["fact"] == "v1_id_person"
    )


def test_answer_that_changes_is_not_an_answer() -> None:
    """Two answers to one question are shown as such."""
    findings = Findings()
    findings.decide("draft_id", "id", "of a result")
    findings.decide("draft_id", "both", "of a result")
    row = next(row for row in findings.rows() if row["fact"] == "draft_id")
    assert (row["answer"], row["unknown_because"]) == (None, "the service has changed its mind: id, both")


@pytest.mark.parametrize(
    ("text", "shown"),
    [("archiving", "archiving"), ("Jane Doe", "(not shown)"), ("a" * 41, "(not shown)"), (7, "(not shown)")],
)
def test_only_words_of_an_api_are_shown(text: Any, shown: str) -> None:
    """A word that could be somebody's data is not."""
    assert word(text) == shown


@pytest.mark.parametrize(
    ("headers", "kind"),
    [
        ({}, "none"),
        ({"etag": '"0123"'}, "none"),
        ({"etag": '"900150983cd24fb0d6963f7d28e17f72"'}, "etag"),
        ({"content-md5": "kAFQmDzST7DWlj99KOF/cg=="}, "content_md5"),
        ({"x-amz-checksum-crc32": "x"}, "x_amz_checksum"),
    ],
    ids=str,
)
def test_checksum_is_compared_with_the_content(headers: dict[str, str], kind: str) -> None:
    """An ETag that is no digest of the content proves nothing."""
    assert checksum_of(headers, b"abc") == kind


def test_page_lists_every_fact(repository: Path) -> None:
    """The page of the live service has a row for each fact, with its sources."""
    page = (repository / "docs" / "live_service.md").read_text()
    assert [
        name for name, fact in FACTS.items() if f"| `{name}` | {fact.question} | {fact.sources} |" not in page
    ] == []


def test_drawn_picture_is_tiny() -> None:
    """The picture that is left behind has less than a kilobyte or two."""
    assert len(drawn_picture()) < 2048
