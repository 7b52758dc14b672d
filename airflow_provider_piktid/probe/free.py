# SPDX-License-Identifier: Apache-2.0
"""The steps of a probe that cost nothing: reads, one project, one tiny picture."""

from __future__ import annotations

import re
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from airflow_provider_piktid.models.v2 import CreditsUsed, Webhook
from airflow_provider_piktid.probe.findings import Findings, shape
from airflow_provider_piktid.probe.session import Answer, OutOfBudget, ProbeError, Session
from airflow_provider_piktid.probe.stream import read_stream

PROJECT = "airflow-provider-piktid probe"
PICTURE = "airflow-provider-piktid-probe.jpg"

#: Said of a paid request without a usable reply.
MAYBE = "perhaps one paid request: its reply was lost or is unusable, so look at the account"

#: Seconds for which the stream is read to see a keepalive.
STREAM_SECONDS = 20.0


@dataclass
class Probe:
    """
    What the steps of one run share.

    :param picture: Encoded JPEG or PNG.
    :param identity: Identity for a job. Default: the first one that PiktID lists.
    """

    session: Session
    findings: Findings
    picture: bytes
    identity: str | None = None
    stream_seconds: float = STREAM_SECONDS
    project_key: str | None = None
    project_name_needed: bool = False
    file_id: str | None = None
    job_ids: list[str] = field(default_factory=list)


def need(answer: Answer) -> Answer:
    """
    Return an answer that is a success.

    :raises ProbeError: It is a refusal or a failure.
    """
    if not answer.ok:
        raise ProbeError(f"PiktID answered {answer.operation} with HTTP {answer.status}")
    if answer.body is None and answer.content:
        raise ProbeError(f"PiktID answered {answer.operation} with something that is not JSON")
    return answer


def pay(session: Session, findings: Findings, operation: str, path: str, body: dict[str, Any]) -> Answer:
    """
    Send a paid request, once.

    :raises ProbeError: It was not accepted; the text says whether it may be billed all the same.
    """
    try:
        answer = session.call(operation, "POST", path, json=body)
    except OutOfBudget:
        raise
    except ProbeError as error:
        findings.left_behind.append(MAYBE)
        raise ProbeError(f"{error}: the request may have arrived, and may be billed") from error
    if answer.ok:
        return answer
    if 400 <= answer.status < 500:
        raise ProbeError(f"PiktID refused to {operation} with HTTP {answer.status}; nothing was bought")
    findings.left_behind.append(MAYBE)
    raise ProbeError(f"PiktID answered {operation} with HTTP {answer.status}: it may be billed")


def access(probe: Probe) -> None:
    """Check that the token is accepted; nothing else can be found out without."""
    answer = need(probe.session.call("list identities", "GET", "/identity", params={"per_page": 20}))
    codes = [row.get("identity_code") for row in answer.rows("identities")]
    if probe.identity is None:
        probe.identity = next((code for code in codes if isinstance(code, str) and code), None)


def statuses(probe: Probe) -> None:
    """Ask what cannot be answered: without a token, for no job, with an invalid number."""
    call, findings = probe.session.call, probe.findings
    answer = call("list identities without a token", "GET", "/identity", anonymous=True)
    findings.decide("unauthorized", str(answer.status), f"HTTP {answer.status}, {_kind(answer)}")
    answer = call("get an unknown job", "GET", f"/jobs/{uuid.uuid4()}/status")
    findings.decide("unknown_job", str(answer.status), f"HTTP {answer.status}, {_kind(answer)}")
    answer = call("list jobs with an invalid page", "GET", "/gallery/by-job", params={"per_page": 0})
    if answer.status >= 500:
        raise ProbeError(f"PiktID answered an invalid request with HTTP {answer.status}")
    if answer.ok:
        findings.unknown(["validation_status"], "PiktID accepts per_page=0, which its reference excludes")
    else:
        findings.decide("validation_status", str(answer.status), f"HTTP {answer.status}, {_kind(answer)}")


def _kind(answer: Answer) -> str:
    return shape(answer.body) if answer.body is not None else ("not JSON" if answer.content else "empty")


def project(probe: Probe) -> None:
    """Create the probe's project, or find it, and ask for its name again."""
    call, findings = probe.session.call, probe.findings
    first = call("create a project", "POST", "/project", json={"project_name": PROJECT})
    if first.ok:
        findings.decide("project_status", str(first.status), f"HTTP {first.status}")
        findings.left_behind.append(f"the project {PROJECT!r}")
        findings.look_for_new_fields("create a project", first.body, ("project_id", "project_name"))
        again = call("create a project again", "POST", "/project", json={"project_name": PROJECT})
    else:
        findings.unknown(["project_status"], "the project exists from an earlier probe")
        again = first
    if again.status == 409:
        has_id = bool(again.fields.get("project_id"))
        findings.decide("project_conflict", "with_id" if has_id else "bare", "HTTP 409")
    probe.project_key = _text(first.fields.get("project_id")) or _text(again.fields.get("project_id"))
    extra = {"project_name": PROJECT, "piktid_probe": True}
    odd = call("create a project with an unknown field", "POST", "/project", json=extra)
    if odd.ok or odd.status == 409:
        findings.decide("unknown_fields", "ignore", f"HTTP {odd.status}")
    elif odd.status in (400, 422):
        findings.decide("unknown_fields", "reject", f"HTTP {odd.status}")
    _listed(probe)


def _listed(probe: Probe) -> None:
    answer = need(probe.session.call("list projects", "GET", "/project", params={"per_page": 100}))
    rows = answer.rows("projects")
    ours = [row for row in rows if PROJECT in (row.get("project_text"), row.get("project_name"))]
    for row in ours[:1]:
        number = isinstance(row.get("project_id"), int)
        answer_word = (
            "number_and_key" if number and row.get("project_key") else ("number" if number else "text")
        )
        probe.findings.decide("project_ids", answer_word, f"project_id is a {shape(row.get('project_id'))}")
        probe.project_key = probe.project_key or _text(row.get("project_key")) or _text(row.get("project_id"))
    if not ours:
        probe.findings.unknown(["project_ids"], "the project is not among the first 100 that PiktID lists")


def upload(probe: Probe) -> None:
    """Look for the picture of an earlier probe, then upload one."""
    _file_life(probe)
    call, findings = probe.session.call, probe.findings
    ticket = call("request an upload", "POST", "/upload", json={"filename": PICTURE})
    if ticket.status in (400, 404, 422):
        body = {"filename": PICTURE, "project_name": PROJECT}
        ticket = need(call("request an upload with project_name", "POST", "/upload", json=body))
        findings.decide("upload_strict", "on", "refused without project_name")
    else:
        need(ticket)
        findings.decide("upload_strict", "off", f"HTTP {ticket.status} without project_name")
        body = {"filename": PICTURE, "project_name": PROJECT}
        named = call("request an upload with project_name", "POST", "/upload", json=body)
        ticket = named if named.ok else ticket
    echoed = "project_id" in ticket.fields
    findings.decide("echo_project", "on" if echoed else "off", "with project_name in the request")
    known = (
        "upload_url",
        "download_url",
        "file_id",
        "filename",
        "content_type",
        "project_id",
        "project_name",
    )
    findings.look_for_new_fields("request an upload", ticket.body, known)
    url, kind = ticket.fields.get("upload_url"), ticket.fields.get("content_type")
    if not isinstance(url, str) or not isinstance(kind, str):
        raise ProbeError("the reply to an upload has no upload_url or content_type")
    put = probe.session.link(
        "presigned upload", "PUT", url, content=probe.picture, headers={"Content-Type": kind}
    )
    findings.decide("upload_put", str(put.status), f"HTTP {put.status}")
    if put.ok:
        findings.left_behind.append(f"the picture {PICTURE!r}")
        probe.file_id = _text(ticket.fields.get("file_id"))


def _file_life(probe: Probe) -> None:
    params = {"search": PICTURE, "ownership": "mine", "order": "asc", "per_page": 100}
    answer = probe.session.call("list uploaded pictures", "GET", "/assets", params=params)
    if not answer.ok:
        probe.findings.unknown(["file_life"], f"PiktID answered GET /assets with HTTP {answer.status}")
        return
    ages = [
        age_in_days(row.get("created_at")) for row in answer.rows("assets") if row.get("filename") == PICTURE
    ]
    oldest = max((age for age in ages if age is not None), default=None)
    if oldest is not None and oldest >= 1:
        probe.findings.decide("file_life", "a day or more", f"a picture of {oldest:.0f} days is still listed")
    else:
        probe.findings.decide("file_life", "not seen yet", "no picture of an earlier probe is a day old")


def age_in_days(text: Any) -> float | None:
    """Return the age of an ISO 8601 time in days; None if it is none."""
    try:
        made = datetime.fromisoformat(str(text))
    except ValueError:
        return None
    return (datetime.now(UTC) - (made if made.tzinfo else made.replace(tzinfo=UTC))).total_seconds() / 86400


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None


def notifications(probe: Probe) -> None:
    """Poll the notifications once."""
    body = {"name_list": ["batch_edit", "completed", "error"]}
    answer = probe.session.call("poll notifications", "POST", "/notifications", json=body)
    if answer.ok and answer.body is not None:
        probe.findings.decide("notifications_post", "on", f"HTTP {answer.status}, a {shape(answer.body)}")
    elif answer.status in (404, 405, 410):
        probe.findings.decide("notifications_post", "absent", f"HTTP {answer.status}")
    else:
        need(answer)


def stream(probe: Probe) -> None:
    """Read the notification stream until its first keepalive."""
    read = read_stream(probe.session, probe.stream_seconds, until_keepalive=True)
    findings = probe.findings
    if read.status in (404, 405, 410):
        findings.decide("stream", "absent", f"HTTP {read.status}")
        findings.unknown(["keepalive"], "there is no stream")
        return
    if read.status != 200:
        raise ProbeError(f"PiktID answered the notification stream with HTTP {read.status}")
    documented = read.complete_at is not None and not read.live_before_complete
    findings.decide(
        "stream", "documented" if documented else "other_order", f"{read.frames} frames before the wait"
    )
    for name in read.odd_events:
        findings.surprise(f"notification stream: unknown event {name}")
    if read.keepalive_after is not None:
        seconds = read.keepalive_after
        answer = "20 s or less" if seconds <= 20 else "longer"
        findings.decide("keepalive", answer, f"{seconds:.0f} s after the last frame")
    else:
        findings.unknown(["keepalive"], f"none within {probe.stream_seconds:g} s")


def account(probe: Probe) -> None:
    """Read the credits used and the webhook."""
    call, findings = probe.session.call, probe.findings
    answer = call("get the webhook", "GET", "/webhooks")
    if answer.ok and answer.fields:
        findings.decide("webhook_get", "on", f"HTTP {answer.status}")
        findings.look_for_new_fields("get the webhook", answer.body, Webhook.model_fields)
    elif answer.status in (405, 501):
        findings.decide("webhook_get", "absent", f"HTTP {answer.status}")
    else:
        findings.unknown(["webhook_get"], f"HTTP {answer.status}: there is no webhook, or no such request")
    answer = need(call("get the credits used", "GET", "/billing/credits"))
    if "total_credits" in answer.fields:
        findings.decide("billing", "usage", "total_credits")
        findings.look_for_new_fields("get the credits used", answer.body, CreditsUsed.model_fields)
    else:
        findings.decide("billing", "balance", "no total_credits")


def headers(probe: Probe) -> None:
    """Note limits that answers have told without being asked."""
    for answer in probe.session.answers:
        if answer.status == 429:
            value = answer.headers.get("retry-after")
            form = "none" if not value else ("seconds" if re.fullmatch(r"\d+(\.\d+)?", value) else "date")
            probe.findings.decide("retry_after", form, f"in the 429 to {answer.operation}")
        for name in answer.headers:
            if name.startswith(("x-ratelimit", "ratelimit")):
                probe.findings.surprise(f"{answer.operation}: header {name}")


def wait(seconds: float, session: Session) -> None:
    """Wait between two questions, not longer than the run may take."""
    time.sleep(max(0.0, min(seconds, session.left)))


def objects(value: Any) -> list[Mapping[str, Any]]:
    """Return the objects of a list; empty if it is none."""
    return [item for item in value if isinstance(item, Mapping)] if isinstance(value, list) else []
