# SPDX-License-Identifier: Apache-2.0
"""What ended jobs show: shapes of results, links and ZIPs. Free, whoever bought the jobs."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from airflow_provider_piktid.models.v2 import GalleryJob, ImageResult, JobResults
from airflow_provider_piktid.probe.findings import word
from airflow_provider_piktid.probe.free import Probe, need, objects
from airflow_provider_piktid.probe.session import Answer, ProbeError

#: Ended jobs whose results are read: the newest, and the newest that have failed.
LOOKED_AT = 3

ENDED = ("completed", "failed", "aborted")

#: Fields in the sources that the models of this package do not name.
_MORE_RESULT = (
    "input_description",
    "feedback",
    "feedback_comment",
    "detail_needs_review",
    "detail_review_reason",
)
_MORE_GALLERY = ("created_by",)


def history(probe: Probe) -> None:
    """Read the results of some ended jobs, those of the probe first."""
    answer = need(probe.session.call("list jobs", "GET", "/gallery/by-job", params={"per_page": 100}))
    listed = answer.rows("jobs")
    for row in listed[:LOOKED_AT]:
        probe.findings.look_for_new_fields("list jobs", row, (*GalleryJob.model_fields, *_MORE_GALLERY))
    ended = [row for row in listed if row.get("job_status") in ENDED and isinstance(row.get("job_id"), str)]
    failed = [row["job_id"] for row in ended if row.get("failed_images") or row["job_status"] == "failed"]
    chosen = [*probe.job_ids, *failed[:LOOKED_AT], *(row["job_id"] for row in ended[:LOOKED_AT])]
    linked: tuple[str, str] | None = None
    for job_id in dict.fromkeys(chosen):
        results = probe.session.call("get job results", "GET", f"/jobs/{job_id}/results")
        if results.ok and results.fields:
            link = judge_results(probe, results)
            linked = linked or ((job_id, link) if link else None)
    if linked is None:
        return
    _checksum(probe, linked[1])
    _archive(probe, linked[0])


def judge_results(probe: Probe, answer: Answer) -> str | None:
    """Note what the results of an ended job show; return a link to one of its outputs."""
    body, findings = answer.fields, probe.findings
    rows = objects(body.get("results"))
    kind = "full" if "credits_used" in body else "g1" if any("version" in row for row in rows) else "seed"
    findings.decide("results", kind, f"{len(body)} fields, {len(rows[0]) if rows else 0} in each result")
    findings.look_for_new_fields("get job results", body, JobResults.model_fields)
    for row in rows[:1]:
        findings.look_for_new_fields("a result", row, (*ImageResult.model_fields, *_MORE_RESULT))
    status = body.get("status")
    if status not in (*ENDED, "pending", "processing"):
        findings.surprise(f"get job results: unknown status {word(status)}")
    link = None
    for row in rows:
        link = judge_result(probe, row, kind) or link
    _judge_failure(probe, body, rows)
    return link


def judge_result(probe: Probe, row: Mapping[str, Any], kind: str) -> str | None:
    """Note where one result has its link, number and output."""
    findings = probe.findings
    output = row.get("output")
    nested = output.get("full_size") if isinstance(output, Mapping) else None
    if row.get("status") == "completed" and (nested or row.get("url")):
        where = "both" if nested and row.get("url") else ("output" if nested else "url")
        findings.decide("result_url", where, "of a completed image")
    if row.get("status") == "failed" and "output" in row:
        findings.decide("failed_output", "null" if output is None else "object", "of a failed image")
    if kind == "full":
        keys = [key for key in ("id", "image_result_id") if key in row]
        if keys:
            findings.decide("draft_id", "both" if len(keys) == 2 else keys[0], "of a result")
    link = nested or row.get("url")
    return link if isinstance(link, str) and row.get("status") == "completed" else None


def _judge_failure(probe: Probe, body: Mapping[str, Any], rows: list[Mapping[str, Any]]) -> None:
    states = {row.get("status") for row in rows}
    if {"completed", "failed"} <= states and body.get("status") in ("completed", "failed"):
        probe.findings.decide("partial_job", str(body["status"]), "a job with completed and failed images")
    if body.get("status") == "failed" and "completed" not in states:
        used = body.get("credits_used")
        if isinstance(used, int | float) and not isinstance(used, bool):
            probe.findings.decide(
                "failed_billed", "stated, billed" if used else "stated, free", "of a failed job"
            )
        else:
            probe.findings.decide(
                "failed_billed", "not stated", "credits_used of a failed job is absent or null"
            )


def _checksum(probe: Probe, url: str) -> None:
    """Download one output and compare its headers with its content."""
    answer = probe.session.link("result link", "GET", url)
    if not answer.ok:
        raise ProbeError(f"a result link was answered with HTTP {answer.status}")
    kind = checksum_of(answer.headers, answer.content)
    seen = (
        "an ETag that is not a checksum"
        if kind == "none" and "etag" in answer.headers
        else "headers of a result link"
    )
    probe.findings.decide("checksum", kind, seen)


def checksum_of(headers: Mapping[str, str], content: bytes) -> str:
    """Return which header has a checksum of the content."""
    md5 = hashlib.md5(content, usedforsecurity=False)
    if "x-goog-hash" in headers:
        return "x_goog_hash"
    if any(name.startswith("x-amz-checksum-") for name in headers):
        return "x_amz_checksum"
    if headers.get("content-md5") == base64.b64encode(md5.digest()).decode():
        return "content_md5"
    etag = headers.get("etag", "").removeprefix("W/").strip('"').lower()
    if etag == md5.hexdigest():
        return "etag"
    return "none"


def _archive(probe: Probe, job_id: str) -> None:
    """Request a ZIP link, and use it twice."""
    answer = need(probe.session.call("request a ZIP", "POST", "/download", json={"job_id": job_id}))
    url, expires = answer.fields.get("download_url"), answer.fields.get("expires")
    probe.findings.look_for_new_fields("request a ZIP", answer.body, ("download_url", "expires"))
    seconds = _seconds_until(expires)
    if seconds is not None:
        known = "10 minutes or more" if seconds >= 600 else "less"
        probe.findings.decide("zip_life", known, f"{seconds / 60:.0f} minutes")
    if not isinstance(url, str):
        raise ProbeError("the reply to a ZIP request has no download_url")
    first, second = (probe.session.link("ZIP link", "GET", url) for _ in range(2))
    if first.ok:
        probe.findings.decide(
            "zip_use", "many" if second.ok else "once", f"HTTP {first.status}, then {second.status}"
        )


def _seconds_until(text: Any) -> float | None:
    try:
        moment = datetime.fromisoformat(str(text))
    except ValueError:
        return None
    return ((moment if moment.tzinfo else moment.replace(tzinfo=UTC)) - datetime.now(UTC)).total_seconds()
