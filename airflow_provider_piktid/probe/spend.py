# SPDX-License-Identifier: Apache-2.0
"""The step of a probe that costs one output: a job of one picture with one variation, watched to its end."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from typing import Any

from airflow_provider_piktid.models.model_swap import ModelSwap
from airflow_provider_piktid.models.v2 import Job
from airflow_provider_piktid.probe.findings import word
from airflow_provider_piktid.probe.free import MAYBE, Probe, objects, pay, wait
from airflow_provider_piktid.probe.history import ENDED
from airflow_provider_piktid.probe.session import Answer, ProbeError
from airflow_provider_piktid.probe.stream import StreamRead, read_stream

#: Seconds between two questions about the job.
PAUSE = 1.0

#: Seconds for which a job may answer 404.
FRESH_SECONDS = 60.0

#: Seconds for which the stream is read after the job has ended.
AFTER_END = 2.0

PENDING = ("pending", "processing")


def spend(probe: Probe) -> None:
    """Run one job, and note how it appears, is listed, reported and billed."""
    if not probe.file_id or not probe.project_key or not probe.identity:
        missing = [name for name in ("file_id", "project_key", "identity") if not getattr(probe, name)]
        raise ProbeError(f"nothing was bought: the free steps gave no {', '.join(missing)}")
    read, ended = StreamRead(), threading.Event()
    reader = threading.Thread(target=_listen, args=(probe, read, ended), daemon=True)
    reader.start()
    read.ready.wait(min(10.0, max(0.0, probe.session.left)))
    try:
        job_id = _buy(probe)
        _watch(probe, job_id)
        # The last event may come after the status.
        wait(AFTER_END, probe.session)
    finally:
        ended.set()
        reader.join(AFTER_END)
    _judge_events(probe, read, job_id)


def _listen(probe: Probe, read: StreamRead, ended: threading.Event) -> None:
    try:
        read_stream(probe.session, max(1.0, probe.session.left), into=read, stop=ended.is_set)
    except ProbeError:
        read.ready.set()


def _buy(probe: Probe) -> str:
    job = ModelSwap(identity_code=probe.identity or "", project_id=probe.project_key or "")
    answer = pay(probe.session, probe.findings, "start a job", job.path, job.body([probe.file_id or ""]))
    probe.findings.decide("job_status", str(answer.status), f"HTTP {answer.status}")
    job_id = answer.fields.get("job_id")
    if not isinstance(job_id, str) or not job_id:
        probe.findings.left_behind.append(MAYBE)
        raise ProbeError("PiktID accepted a job and returned no job_id: it may be billed")
    probe.findings.look_for_new_fields("start a job", answer.body, ("job_id", "status", "message"))
    probe.findings.left_behind.append("one job with one output")
    probe.job_ids.append(job_id)
    return job_id


def _watch(probe: Probe, job_id: str) -> None:
    """Ask for status, list and results until the job ends."""
    began, listed = time.monotonic(), False
    while True:
        answer = probe.session.call("get the job status", "GET", f"/jobs/{job_id}/status")
        waited = time.monotonic() - began
        if answer.status == 404 and waited < FRESH_SECONDS:
            probe.findings.decide(
                "fresh_404", "for a while", f"404 {waited:.0f} s after the job was accepted"
            )
            wait(PAUSE, probe.session)
            continue
        if not answer.ok or not answer.fields:
            raise ProbeError(f"PiktID answered the status of the job with HTTP {answer.status}")
        if "fresh_404" not in probe.findings.seen:
            probe.findings.decide("fresh_404", "not at all", "the first answer was a status")
        probe.findings.look_for_new_fields("get the job status", answer.body, Job.model_fields)
        if _has_ended(probe, answer):
            break
        if not listed:
            listed = _judge_listing(probe, job_id) or listed
            _judge_partial(probe, job_id, answer)
        wait(PAUSE, probe.session)
    if not listed:
        probe.findings.unknown(["gallery_pending", "partial_rows"], "the job ended before it was looked for")
    _judge_price(probe, job_id)


def _has_ended(probe: Probe, answer: Answer) -> bool:
    status = str(answer.fields.get("status", "")).lower()
    if status not in (*ENDED, *PENDING):
        probe.findings.surprise(f"get the job status: unknown status {word(status)}")
    return status in ENDED


def _judge_listing(probe: Probe, job_id: str) -> bool:
    """Note how the list of jobs shows a job that has not ended."""
    answer = probe.session.call("list the pending job", "GET", "/gallery/by-job", params={"per_page": 20})
    rows = [row for row in answer.rows("jobs") if row.get("job_id") == job_id]
    if rows and rows[0].get("job_status") not in PENDING:
        return False
    if not rows:
        probe.findings.decide("gallery_pending", "hidden", "the list of jobs does not have it")
        return True
    ids = {
        image.get("uuid") for row in objects(rows[0].get("images")) for image in objects(row.get("inputs"))
    }
    named = probe.file_id in ids
    seen = "with the file id of its input" if named else "without the file id of its input"
    probe.findings.decide(
        "gallery_pending", "inputs" if named else "listed", f"a {rows[0]['job_status']} job, {seen}"
    )
    return True


def _judge_partial(probe: Probe, job_id: str, status: Answer) -> None:
    answer = probe.session.call("get partial results", "GET", f"/jobs/{job_id}/results")
    if not answer.ok or answer.fields.get("status", "processing") not in PENDING:
        return
    rows = [row.get("status") for row in answer.rows("results")]
    if any(state in PENDING for state in rows):
        probe.findings.decide("partial_rows", "all", "an unfinished image is in the results")
    elif not rows:
        probe.findings.decide("partial_rows", "finished", "no row for the unfinished image")


def _judge_price(probe: Probe, job_id: str) -> None:
    answer = probe.session.call("get job results", "GET", f"/jobs/{job_id}/results")
    used = answer.fields.get("credits_used")
    if isinstance(used, int | float) and not isinstance(used, bool):
        probe.findings.credits += float(used)
        probe.findings.decide("price", "stated", f"{used:g} credits for one output")
    else:
        probe.findings.decide("price", "not stated", "credits_used is absent or null")


def _judge_events(probe: Probe, read: StreamRead, job_id: str) -> None:
    ours = [item for item in read.notifications if job_id in _values(item.get("data"))]
    if not ours:
        reason = "there is no stream" if read.status != 200 else ""
        if reason:
            probe.findings.unknown(["events", "job_id_key"], reason)
        else:
            probe.findings.decide("events", "none", "no event with the id of the job")
            probe.findings.decide("job_id_key", "none", "no event with the id of the job")
        return
    names = {str(item.get("name")) for item in ours}
    docs, seed = names & {"batch_edit", "image_result"}, names & {"completed", "error"}
    kind = "both" if docs and seed else ("docs" if docs else "seed" if seed else "none")
    probe.findings.decide("events", kind, ", ".join(sorted(word(name) for name in names)))
    for name in sorted(names - {"batch_edit", "image_result", "completed", "error"}):
        probe.findings.surprise(f"notification stream: unknown notification {word(name)}")
    for item in ours:
        data = item["data"]
        keys = [key for key in ("id_task", "job_id") if data.get(key) == job_id]
        if item["name"] in ("batch_edit", "completed"):
            probe.findings.decide(
                "job_id_key", "both" if len(keys) == 2 else "".join(keys) or "none", "in an event"
            )
        probe.findings.look_for_new_fields("data of an event", data, _EVENT_FIELDS)


_EVENT_FIELDS = (
    *("id_task", "job_id", "job_type", "status", "image_index", "group_index", "version", "id_image"),
    *("error_message", "progress"),
)


def _values(data: Any) -> list[Any]:
    return list(data.values()) if isinstance(data, Mapping) else []
