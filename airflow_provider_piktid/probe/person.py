# SPDX-License-Identifier: Apache-2.0
"""The step of a probe for v1: one picture, and one generation if there is a person in it."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from typing import Any

from airflow_provider_piktid.probe.findings import Findings, shape, word
from airflow_provider_piktid.probe.free import need, pay, wait
from airflow_provider_piktid.probe.session import Answer, ProbeError, Session

#: Seconds between two questions: PiktID documents one in three seconds.
PAUSE = 3.5

#: Seconds for which the result is waited for.
PATIENCE = 180.0

KEYWORD = {"Location": "Oceania"}


def log_in(session: Session, login: tuple[str, str]) -> None:
    """Get an access token. The refresh token is dropped: using one twice ends all sessions of the account."""
    answer = need(session.call("log in", "POST", "/tokens", auth=login))
    token = answer.fields.get("access_token")
    if not isinstance(token, str):
        raise ProbeError("the reply to the login has no access_token")
    session.authorize(f"Bearer {token}")


def person(session: Session, findings: Findings, picture: bytes, price: float) -> None:
    """Upload a picture, generate one person, and note how the result is reported."""
    target = need(
        session.call("upload the picture", "POST", "/edit/target", files={"file": ("probe.jpg", picture)})
    )
    body = target.fields
    findings.left_behind.append("one picture of v1, which PiktID deletes after 24 hours")
    image_id = body.get("id_image") or body.get("image_id")
    if not isinstance(image_id, str):
        raise ProbeError("the reply to the picture has no image id")
    names = [name for name in ("id_image", "image_id") if name in body]
    findings.decide("v1_image_id", "both" if len(names) == 2 else names[0], "in the reply to the picture")
    faces = body.get("faces")
    nested = faces if isinstance(faces, Mapping) else {}
    if "coordinates_list" in body or "coordinates_list" in nested:
        findings.decide(
            "v1_coordinates", "top" if "coordinates_list" in body else "nested", "coordinates_list"
        )
    persons = body.get("coordinates_list") or nested.get("coordinates_list") or []
    if not persons:
        raise ProbeError("nothing was bought: PiktID found no person in the picture; pass another --picture")
    _generate(session, findings, image_id, price)


def _generate(session: Session, findings: Findings, image_id: str, price: float) -> None:
    body = {"id_image": image_id, "id_person": 0, "keyword": json.dumps(KEYWORD), "category": "person"}
    answer = pay(session, findings, "generate a person", "/edit/generate", body)
    findings.credits += price
    findings.left_behind.append("one generated person")
    findings.decide(
        "v1_generate_reply", "task" if answer.fields.get("id_task") else "empty", f"HTTP {answer.status}"
    )
    item = _result(session, image_id)
    fields = [name for name in ("id", "timestamp") if item.get(name) is not None]
    kind = "both" if len(fields) == 2 else (fields[0] if fields else "none")
    findings.decide("v1_notification_fields", kind, "in the result")
    data = item["data"]
    _judge_keyword(findings, data)
    number = data.get("id_person")
    findings.decide("v1_id_person", "text" if isinstance(number, str) else "int", f"a {shape(number)}")
    known = ("id_person", "address", "keyword", "links", "id_task")
    findings.look_for_new_fields("v1: data of edit_generate", data, known)
    if item.get("id") is not None:
        _delete_twice(session, findings, item["id"])


def _judge_keyword(findings: Findings, data: Mapping[str, Any]) -> None:
    value = data.get("keyword")
    kind = "absent" if value is None else ("string" if isinstance(value, str) else "object")
    findings.decide("v1_notification_keyword", kind, f"a {shape(value)}")


def _result(session: Session, image_id: str) -> Mapping[str, Any]:
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        wait(PAUSE, session)
        body = {"name_list": "edit_generate,error", "id_image": image_id}
        answer = need(session.call("list v1 notifications", "POST", "/notification_by_name_json", json=body))
        for item in answer.rows("notifications_list"):
            data = item.get("data")
            if isinstance(data, Mapping) and data.get("address") == image_id:
                if item.get("name") == "edit_generate":
                    return item
                raise ProbeError(f"the generation ended with {word(item.get('name'))}")
    raise ProbeError(f"no result within {PATIENCE:g} s; it may come later, and is billed")


def _delete_twice(session: Session, findings: Findings, number: Any) -> None:
    """Delete the probe's own notification; the second time it is gone."""
    answers: list[Answer] = [
        session.call("delete a v1 notification", "DELETE", "/notification/delete_json", json={"id": number})
        for _ in range(2)
    ]
    if answers[0].ok:
        status = answers[1].status
        findings.decide("v1_delete_unknown", "200" if answers[1].ok else str(status), f"HTTP {status}")
