# SPDX-License-Identifier: Apache-2.0
"""JSON of v2 responses."""

from __future__ import annotations

from typing import Any

from ..clock import iso
from ..core import Core
from ..faces import portrait
from .entities import Identity, StoredFile
from .job import Job, Output


def identity_link(core: Core, identity: Identity, base_url: str) -> str:
    """Return the link to an identity's picture; default identities get a drawn one."""
    if identity.blob is None:
        identity.blob = core.folder.save(portrait(identity.name, identity.code), "image/jpeg")
    core.keep(f"identity-{identity.code}", identity.blob)
    return core.link(f"identity-{identity.code}", identity.blob, base_url)


def identity_shape(core: Core, identity: Identity, base_url: str) -> dict[str, Any]:
    """Return an ``Identity``."""
    return {
        "identity_code": identity.code,
        "name": identity.name,
        "original_filename": identity.original_filename,
        "link": identity_link(core, identity, base_url),
        "visibility": identity.visibility,
        "groups": [],
        "created_by": identity.created_by,
        "image_description": {"gender": identity.gender, "age": identity.age, "tag": identity.tag},
        "preprocessing_status": identity.preprocessing_status,
        "created_at": iso(identity.created_at),
        "updated_at": iso(identity.updated_at),
    }


def asset_shape(core: Core, file: StoredFile, base_url: str) -> dict[str, Any]:
    """Return an ``Asset``."""
    assert file.blob is not None
    return {
        "id": file.file_id,
        "filename": file.filename,
        "url": core.link(file.file_id, file.blob, base_url),
        "created_at": iso(file.created_at),
        "created_by": core.settings.login,
        "tags": [],
        "visibility": "private",
        "thumbnail_big": None,
        "thumbnail_small": None,
        "styling_note": None,
        "detected": None,
        "dimensions": None,
    }


def progress_of(job: Job) -> float:
    """Return the percentage of finished outputs."""
    if job.status == "completed":
        return 100.0
    done = sum(1 for output in job.newest() if output.finished)
    return round(100.0 * done / len(job.outputs), 1) if job.outputs else 0.0


def belongings(job: Job) -> dict[str, Any]:
    """Return the fields for a job's identity and project."""
    return {
        "identity_code": job.identity.code if job.identity else None,
        "identity_name": job.identity.name if job.identity else None,
        "project_id": job.project.number if job.project else None,
        "project_key": job.project.key if job.project else None,
    }


def job_shape(job: Job) -> dict[str, Any]:
    """Return the status block of a job."""
    rows = job.newest()
    return {
        "job_id": job.job_id,
        "job_type": job.job_type,
        "status": job.status,
        "progress": progress_of(job),
        "total_images": len(rows),
        "processed_images": sum(1 for output in rows if output.finished),
        "error_message": job.error_message,
        "should_post_process": job.post_process,
        "post_processing_status": job.post_processing_status,
        "post_processing_error": job.post_processing_error,
        **belongings(job),
        "project_text": job.project.name if job.project else None,
        "processing_options": job.options or None,
        "created_at": iso(job.created_at),
        "updated_at": iso(job.updated_at),
    }


def model_used(job: Job) -> str:
    """Return the engine that ran."""
    model = str(job.options.get("model", "auto"))
    return job.kind.auto_model if model == "auto" else model


def _picture(url: str | None, uuid: str | None) -> dict[str, str | None]:
    return {"full_size": url, "thumbnail": None, "uuid": uuid}


def _input(core: Core, file: StoredFile, base_url: str) -> dict[str, str | None]:
    return _picture(core.link(file.file_id, file.blob, base_url) if file.blob else None, file.file_id)


def result_shape(core: Core, job: Job, output: Output, base_url: str) -> dict[str, Any]:
    """Return an ``ImageResult``."""
    url = core.link(output.uuid, output.blob, base_url) if output.blob else None
    done = output.status == "completed"
    shape: dict[str, Any] = {
        "id": output.id,
        "image_result_id": output.id,
        "job_id": job.job_id,
        "image_index": output.image_index,
        "group_index": output.group_index,
        "version": output.version,
        "original_filename": output.filename,
        "download_filename": output.download_filename,
        "inputs": [_input(core, file, base_url) for file in output.inputs],
        "output": _picture(url, output.uuid if url else None),
        "url": url,
        "input_description": output.description,
        "model_used": model_used(job) if done else None,
        "detail_needs_review": False,
        "detail_review_reason": None,
        "status": output.status,
        "quality_score": 0.97 if done else None,
        "processing_time": output.processing_time,
        "error_message": output.error_message,
        "feedback": None,
        "feedback_comment": None,
        "created_at": iso(output.updated_at if output.finished else output.created_at),
    }
    return _by_variants(core, shape)


_SEED_KEYS = ("image_index", "url", "model_used", "status")
_G1_KEYS = (
    *(
        "job_id",
        "image_index",
        "group_index",
        "version",
        "original_filename",
        "inputs",
        "output",
        "url",
        "status",
    ),
    *("quality_score", "processing_time", "error_message", "input_description"),
    *("feedback", "feedback_comment", "created_at"),
)


def _by_variants(core: Core, shape: dict[str, Any]) -> dict[str, Any]:
    variants = core.variants
    number = variants["draft_id"]
    for key in ("id", "image_result_id"):
        if number not in (key, "both"):
            del shape[key]
    if shape["url"] is None and variants["failed_output"] == "null":
        shape["output"] = None
    if variants["results"] == "seed":
        return {key: shape[key] for key in _SEED_KEYS}
    if variants["result_url"] == "output":
        del shape["url"]
    if variants["result_url"] == "url":
        del shape["output"]
    if variants["results"] == "g1":
        for picture in (*shape["inputs"], shape.get("output") or {}):
            picture.pop("uuid", None)
        return {key: shape[key] for key in _G1_KEYS if key in shape}
    return shape


def rows_shape(core: Core, job: Job, base_url: str) -> list[dict[str, Any]]:
    """Return the newest version of each result."""
    finished_only = core.variants["partial_rows"] == "finished"
    rows = [output for output in job.newest() if output.finished or not finished_only]
    return [result_shape(core, job, output, base_url) for output in rows]


def summary_shape(job: Job) -> dict[str, Any]:
    """Return the summary of a job's newest results."""
    rows = job.newest()
    good = sum(1 for output in rows if output.status == "completed")
    return {
        "total_images": len(rows),
        "successful": good,
        "failed": sum(1 for output in rows if output.status == "failed"),
        "average_quality_score": 0.97 if good else 0.0,
        "success_rate": round(100.0 * good / len(rows), 1) if rows else 0.0,
    }


_G1_JOB_KEYS = (
    *("job_id", "job_type", "status", "error_message"),
    *("should_post_process", "post_processing_status", "post_processing_error"),
)


def results_shape(core: Core, job: Job, base_url: str) -> dict[str, Any]:
    """Return the results body of a job."""
    block = job_shape(job)
    if job.identity is not None and not job.kind.paid:
        return {**block, "identity": identity_shape(core, job.identity, base_url), "results": []}
    rows, summary = rows_shape(core, job, base_url), summary_shape(job)
    kind = core.variants["results"]
    if kind == "seed":
        keys = ("job_id", "job_type", "status")
        return {**{key: block[key] for key in keys}, "results": rows, "summary": summary}
    if kind == "g1":
        return {**{key: block[key] for key in _G1_JOB_KEYS}, "results": rows, "summary": summary}
    return {**block, "results": rows, "summary": summary, "credits_used": job.credits}
