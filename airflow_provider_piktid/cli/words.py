# SPDX-License-Identifier: Apache-2.0
"""
Say in words what a record of paid work means.

Each kind becomes the same JSON: a sentence, the paid jobs, and lines for what is open. Pure: it reads no file and
asks nobody.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from airflow_provider_piktid.cli.output import counted, moment
from airflow_provider_piktid.exceptions import PiktidRecordError
from airflow_provider_piktid.jobs.one_request import OneRequestRecord
from airflow_provider_piktid.jobs.preset import STATE_KEY as PRESETS
from airflow_provider_piktid.jobs.preset import PresetRecord
from airflow_provider_piktid.jobs.promotion import STATE_KEY as PROMOTIONS
from airflow_provider_piktid.jobs.promotion import PromotionRecord
from airflow_provider_piktid.jobs.regeneration import STATE_KEY as REGENERATIONS
from airflow_provider_piktid.jobs.regeneration import RegenerationRecord
from airflow_provider_piktid.jobs.submission import STATE_KEY as JOBS
from airflow_provider_piktid.jobs.submission import JobRecord
from airflow_provider_piktid.jobs.uploads import STATE_KEY as UPLOADS
from airflow_provider_piktid.jobs.uploads import UploadRecord
from airflow_provider_piktid.person.record import STATE_KEY as GENERATIONS
from airflow_provider_piktid.person.record import PersonRecord


def describe(kind: str, value: Any, where: str) -> dict[str, Any]:
    """
    Describe a record.

    :param kind: Its state key, one of :data:`KINDS`.
    :param value: The stored JSON.
    :param where: Where it was read, for people.
    :return: ``kind``, ``where``, ``sentence``, ``jobs``, ``open`` (what needs a person), ``notes``.
    """
    try:
        described = KINDS[kind](value)
    except PiktidRecordError as error:
        described = {"sentence": str(error), "open": [str(error)]}
    return {"kind": kind, "where": where, "jobs": [], "open": [], "notes": [], **described}


def _jobs(value: Any) -> dict[str, Any]:
    record = JobRecord.from_json(value)
    paid = [item for item in record.submissions if item.job_id]
    lost = [item for item in record.submissions if item.state == "intent"]
    unsent = [item for item in record.submissions if item.state == "planned"]
    images = sum(item.count for item in paid)
    parts = [f"Paid for {counted(len(paid), 'job')} with {counted(images, 'image')}."]
    if unsent:
        count = sum(item.count for item in unsent)
        parts.append(f"{counted(len(unsent), 'job')} with {counted(count, 'image')} not submitted.")
    if record.reused:
        parts.append(f"{counted(len(record.reused), 'image')} bought before by other tasks and used again.")
    return {
        "sentence": " ".join(parts),
        "content": record.content,
        "jobs": [
            {
                "job_id": item.job_id,
                "images": item.count,
                "requested_at": moment(item.submitted_at or item.intent_at),
                "ended": item.ended,
            }
            for item in paid
        ],
        "open": [
            f"A request with {counted(item.count, 'image')}, sent {moment(item.intent_at) or 'at an unknown time'}: "
            "its reply was lost, so it may have been paid for. A retry of the task looks for it at PiktID."
            for item in lost
        ],
        "notes": [
            *(
                f"Job {item.job_id} replaces {', '.join(item.replaces)}, which failed at no cost."
                for item in paid
                if item.replaces
            ),
            *(f"Not submitted in the last try: {item.failure}" for item in record.failed),
            *_shared_notes(record, JobRecord),
        ],
    }


def _regenerations(value: Any) -> dict[str, Any]:
    record = RegenerationRecord.from_json(value)
    paid = [item for item in record.items if item.state == "submitted"]
    lost = [item for item in record.items if item.state == "intent"]
    unsent = len(record.items) - len(paid) - len(lost)
    return {
        "sentence": f"Requested {counted(len(paid), 'image')} again, of {counted(len(record.job_ids), 'job')}."
        + (f" {unsent} not requested." if unsent else ""),
        "jobs": [
            {
                "job_id": job_id,
                "images": sum(item.job_id == job_id for item in paid),
                "requested_at": moment(
                    max(item.intent_at or 0.0 for item in record.items if item.job_id == job_id)
                ),
                "ended": None,
            }
            for job_id in record.job_ids
        ],
        "open": [
            f"{item.label}: the reply was lost, so it may have been paid for. A retry looks for a new version."
            for item in lost
        ],
        "notes": _shared_notes(record, RegenerationRecord),
    }


def _promotions(value: Any) -> dict[str, Any]:
    record = PromotionRecord.from_json(value)
    item = record.item
    what = f"draft {item.image_result_id} of {', '.join(record.jobs)}"
    done = f"Promoted {what} to identity {item.identity_code}."
    return _one_request(
        record, done, f"Not promoted: {what}.", "A retry asks again, which is not charged twice."
    )


def _presets(value: Any) -> dict[str, Any]:
    record = PresetRecord.from_json(value)
    what = f"a preset of type {record.item.preset_type} from {record.item.file_id}"
    lost = "PiktID does not show it again; on_lost_reply='resubmit' pays for another one."
    return _one_request(record, f"Extracted {what}.", f"Not extracted: {what}.", lost)


def _one_request(record: OneRequestRecord, done: str, not_done: str, lost: str) -> dict[str, Any]:
    """
    Describe a record of one request.

    :param lost: What follows from a lost reply.
    """
    is_open = record.item.state == "intent"
    return {
        "sentence": done if record.is_sent else not_done,
        "open": [f"{not_done} The reply was lost, so it may have been paid for. {lost}"] if is_open else [],
        "notes": _shared_notes(record, type(record)),
    }


def _generations(value: Any) -> dict[str, Any]:
    record = PersonRecord.from_json(value)
    requests = sum(item.paid_requests for item in [*record.generations, *record.set_aside])
    states: dict[str, int] = {}
    for item in record.generations:
        states[item.state] = states.get(item.state, 0) + 1
    shown = ", ".join(f"{number} {state}" for state, number in states.items())
    return {
        "sentence": f"Paid for {counted(requests, 'generation')}" + (f": {shown}." if shown else "."),
        "generations": [
            {
                "label": item.label,
                "state": item.state,
                "paid_requests": item.paid_requests,
                "requested_at": moment(item.intent_at),
                "file": item.file,
                "error": item.error,
            }
            for item in record.generations
        ],
        "open": [
            f"{item.label}: the reply was lost, so it may have been paid for. A retry waits for its result."
            for item in record.in_state("intent")
        ],
        "notes": [
            *(f"{item.label}: paid for, no longer asked for." for item in record.set_aside),
            *_shared_notes(record, PersonRecord),
        ],
    }


def _uploads(value: Any) -> dict[str, Any]:
    record = UploadRecord.from_json(value)
    return {
        "sentence": f"Uploaded {counted(len(record.images), 'file')} to project {record.project_id}, from "
        f"{moment(record.uploaded_at)} on. Uploads are free."
    }


def _shared_notes(record: Any, kind: Any) -> list[str]:
    earlier = [job_id for value in record.earlier for job_id in kind.from_json(value).job_ids]
    notes = [f"Paid for before, with other arguments: {', '.join(earlier)}."] if earlier else []
    if record.closed_by:
        notes.append(f"{record.closed_by} has taken over what was not submitted.")
    return notes


#: State key to what describes such a record.
KINDS: Mapping[str, Callable[[Any], dict[str, Any]]] = {
    UPLOADS: _uploads,
    JOBS: _jobs,
    REGENERATIONS: _regenerations,
    GENERATIONS: _generations,
    PROMOTIONS: _promotions,
    PRESETS: _presets,
}
