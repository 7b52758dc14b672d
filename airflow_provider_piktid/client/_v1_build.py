# SPDX-License-Identifier: Apache-2.0
"""Build the requests of the v1 API from arguments."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from typing import Any

from airflow_provider_piktid.client._build import Request, image_type
from airflow_provider_piktid.models.job_type import check_text


def login(email: str, password: str) -> Request:
    pair = base64.b64encode(f"{email}:{password}".encode()).decode()
    return Request(method="POST", path="/tokens", what="log in", headers={"Authorization": f"Basic {pair}"})


def upload_file(filename: str, image: bytes, options: Mapping[str, Any] | None) -> Request:
    if not image:
        raise ValueError("image must not be empty")
    name = filename.encode("utf-8", "replace").decode("utf-8") or "image"
    return Request(
        method="POST",
        path="/edit/target",
        what="upload the picture",
        form=_options(options) or None,
        files={"file": (name, image, image_type(name))},
    )


def upload_url(url: str, options: Mapping[str, Any] | None) -> Request:
    if not url.lower().startswith(("http://", "https://")):
        raise ValueError("url must be an http:// or https:// address")
    return Request(
        method="POST",
        path="/edit/target",
        what="upload the picture by its address",
        form={"url": url, **_options(options)},
    )


def get_image(id_image: str) -> Request:
    check_text("id_image", id_image)
    return Request(
        method="POST",
        path="/images_by_id/v2",
        what="get the picture",
        json={"id_image": id_image},
    )


def generate(
    id_image: str, id_person: int, keyword: Mapping[str, str], options: Mapping[str, Any] | None
) -> Request:
    check_text("id_image", id_image)
    if isinstance(id_person, bool) or id_person < 0:
        raise ValueError(f"id_person must be a whole number from 0, got {id_person!r}")
    if len(keyword) != 1:
        raise ValueError(f"keyword must have one group and one value, got {dict(keyword)!r}")
    body: dict[str, Any] = {
        "id_image": id_image,
        "id_person": id_person,
        "keyword": json.dumps(dict(keyword)),
        "category": "person",
    }
    return Request(
        method="POST",
        path="/edit/generate",
        what="generate a person",
        repeatable=False,
        paid=True,
        json=body | _options(options),
    )


def list_notifications(names: Sequence[str], id_image: str | None, id_task: str | None) -> Request:
    if not names:
        raise ValueError("names must name at least one notification")
    words = [names] if isinstance(names, str) else list(names)
    body = {"name_list": ",".join(words)}
    if id_image is not None:
        body["id_image"] = id_image
    if id_task is not None:
        body["id_task"] = id_task
    return Request(method="POST", path="/notification_by_name_json", what="list notifications", json=body)


def delete_notification(notification_id: int) -> Request:
    return Request(
        method="DELETE",
        path="/notification/delete_json",
        what="delete a notification",
        json={"id": notification_id},
    )


def _options(options: Mapping[str, Any] | None) -> dict[str, str]:
    return {"options": json.dumps(dict(options))} if options else {}
