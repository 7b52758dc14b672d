# SPDX-License-Identifier: Apache-2.0
"""Build the requests of the v2 API from arguments."""

from __future__ import annotations

import mimetypes
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any, Final
from urllib.parse import quote

from airflow_provider_piktid.get_provider_info import PROJECT_NAME_LENGTH
from airflow_provider_piktid.models.job_type import check_text

PAGE_SIZE: Final = 100

#: A file part of a multipart request: name, content, content type.
FilePart = tuple[str, bytes, str]


@dataclass(frozen=True, kw_only=True)
class Request:
    """
    A request, independent of the HTTP library.

    :param what: The action, for messages: "start a model swap".
    :param repeatable: Whether sending it twice is safe.
    :param paid: Whether it costs credits.
    :param params: Query; None values are left out.
    :param secret: Removed from quoted answers, with the session's own. Default: none.
    """

    method: str
    path: str
    what: str
    repeatable: bool = True
    paid: bool = False
    params: Mapping[str, str | int | float | None] = field(default_factory=dict)
    json: Any = None
    form: Mapping[str, str] | None = None
    files: Mapping[str, FilePart] | None = None
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    secret: str = field(default="", repr=False)


def create_project(name: str) -> Request:
    check_text("project name", name)
    if len(name) > PROJECT_NAME_LENGTH:
        raise ValueError(f"project name must have 1 to {PROJECT_NAME_LENGTH} characters, got {name!r}")
    return Request(method="POST", path="/project", what="create the project", json={"project_name": name})


def list_projects(page: int) -> Request:
    return Request(method="GET", path="/project", what="list projects", params=_page(page))


def request_upload(filename: str, project_name: str | None) -> Request:
    body = {"filename": _filename(filename)}
    if project_name is not None:
        body["project_name"] = project_name
    return Request(method="POST", path="/upload", what="request an upload", json=body)


def upload_identity(filename: str, image: bytes, name: str | None, tag: str | None) -> Request:
    if not image:
        raise ValueError("image must not be empty")
    form = {key: value for key, value in (("name", name), ("tag", tag)) if value is not None}
    return Request(
        method="POST",
        path="/identity/upload",
        what="upload the identity",
        # Without a name no conflict prevents a second identity.
        repeatable=name is not None,
        form=form,
        files={"image": (_filename(filename), image, image_type(filename))},
    )


def get_identity(identity_code: str) -> Request:
    return Request(method="GET", path=f"/identity/{segment(identity_code)}", what="get the identity")


def get_identity_status(identity_code: str) -> Request:
    path = f"/identity/{segment(identity_code)}/status"
    return Request(method="GET", path=path, what="get the identity's status")


def list_identities(
    page: int, search: str | None, ownership: str | None, include_locked: bool | None
) -> Request:
    if ownership not in (None, "mine", "shared", "default"):
        raise ValueError(f"ownership must be mine, shared or default, got {ownership!r}")
    params = _page(page) | {"search": search, "ownership": ownership, "include_locked": _bool(include_locked)}
    return Request(method="GET", path="/identity", what="list identities", params=params)


def promote_identity(image_result_id: int, name: str | None) -> Request:
    if not isinstance(image_result_id, int) or isinstance(image_result_id, bool):
        raise ValueError(f"image_result_id must be a whole number, got {image_result_id!r}")
    if name is not None:
        check_text("name", name)
    return Request(
        method="POST",
        path="/identity/promote-generated",
        what="promote a draft",
        repeatable=False,
        paid=True,
        json={"image_result_id": image_result_id} | ({} if name is None else {"name": name}),
    )


def extract_preset(file_id: str, preset_type: str) -> Request:
    check_text("file_id", file_id)
    check_text("preset_type", preset_type)
    return Request(
        method="POST",
        path="/preset/extract-from-image",
        what="extract a preset",
        repeatable=False,
        paid=True,
        json={"file_id": file_id, "type": preset_type},
    )


def get_job(job_id: str) -> Request:
    return Request(method="GET", path=f"/jobs/{segment(job_id)}/status", what="get the job's status")


def get_job_results(job_id: str) -> Request:
    return Request(method="GET", path=f"/jobs/{segment(job_id)}/results", what="get the job's results")


def get_image_versions(job_id: str, image_index: int) -> Request:
    path = f"/jobs/{segment(job_id)}/versions/{segment(image_index)}"
    return Request(method="GET", path=path, what="get the versions of an image")


def regenerate_image(job_id: str, image_index: int, group_index: int) -> Request:
    return Request(
        method="POST",
        path=f"/jobs/{segment(job_id)}/regenerate/{segment(image_index)}",
        what="regenerate an image",
        repeatable=False,
        paid=True,
        params={"group_index": group_index},
    )


def list_gallery_jobs(
    page: int,
    project_id: str | int | None,
    job_id: str | None,
    status: str | None,
    job_type: str | None,
    order: str,
) -> Request:
    if order not in ("asc", "desc"):
        raise ValueError(f"order must be asc or desc, got {order!r}")
    params = _page(page) | {
        "project_id": project_id,
        "job_id": job_id,
        "status": status,
        "job_type": job_type,
        "order": order,
    }
    return Request(method="GET", path="/gallery/by-job", what="list jobs", params=params)


def stream_notifications(job_id: str | None, names: Sequence[str] | None) -> Request:
    return Request(
        method="GET",
        path="/notifications/events",
        what="read the notification stream",
        params={"id_task": job_id, "name_list": ",".join(_names(names)) if names else None},
        headers={"Accept": "text/event-stream", "Cache-Control": "no-store"},
    )


def list_notifications(names: Sequence[str], job_ids: Sequence[str] | None) -> Request:
    if not names:
        raise ValueError("names must name at least one event")
    body: dict[str, Any] = {"name_list": _names(names)}
    if job_ids is not None:
        body["id_task"] = [job_ids] if isinstance(job_ids, str) else list(job_ids)
    return Request(method="POST", path="/notifications", what="list notifications", json=body)


def delete_notification(notification_id: int) -> Request:
    path = f"/notifications/{segment(notification_id)}"
    return Request(method="DELETE", path=path, what="delete a notification")


def create_download(job_id: str) -> Request:
    check_text("job_id", job_id)
    return Request(method="POST", path="/download", what="request a download link", json={"job_id": job_id})


def create_bulk_download(job_ids: Sequence[str]) -> Request:
    if isinstance(job_ids, str) or not job_ids:
        raise ValueError("job_ids must be a list of at least one job id")
    body = {"job_ids": list(job_ids)}
    return Request(method="POST", path="/download/bulk", what="request a download link", json=body)


def set_webhook(url: str) -> Request:
    if not url.lower().startswith(("http://", "https://")):
        raise ValueError("url must be an http:// or https:// address")
    return Request(method="PUT", path="/webhooks", what="set the webhook", json={"url": url})


def test_webhook() -> Request:
    return Request(method="POST", path="/webhooks/test", what="test the webhook")


def get_webhook() -> Request:
    return Request(method="GET", path="/webhooks", what="get the webhook")


def get_credits_used(start: str | None, end: str | None, resolution: str | None) -> Request:
    if resolution not in (None, "day", "week", "month"):
        raise ValueError(f"resolution must be day, week or month, got {resolution!r}")
    return Request(
        method="GET",
        path="/billing/credits",
        what="get the credits used",
        params={"start_date": start, "end_date": end, "resolution": resolution},
    )


def segment(value: str | int) -> str:
    """
    Quote an id for use as one segment of a path.

    :raises ValueError: Empty, ``.`` or ``..``, which would name another path.
    """
    text = str(value)
    if text in ("", ".", ".."):
        raise ValueError(f"{text!r} cannot be an id")
    return quote(text, safe="")


def image_type(filename: str) -> str:
    """Return the content type for a file name: image/jpeg unless the extension is of another image type."""
    guess = mimetypes.guess_type(PurePosixPath(filename).name)[0] or ""
    return guess if guess.startswith("image/") else "image/jpeg"


def _page(page: int) -> dict[str, str | int | float | None]:
    return {"page": page, "per_page": PAGE_SIZE}


def _bool(value: bool | None) -> str | None:
    return None if value is None else str(value).lower()


def _names(names: Sequence[str]) -> list[str]:
    return [names] if isinstance(names, str) else list(names)


def _filename(filename: str) -> str:
    check_text("filename", filename)
    # File names can contain bytes that are not UTF-8.
    return filename.encode("utf-8", "replace").decode("utf-8")
