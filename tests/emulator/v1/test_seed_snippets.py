# SPDX-License-Identifier: Apache-2.0
"""The code of the person guide runs unchanged, except for address, token, path and waits."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import requests

KEYWORDS = [{"Location": "East Asia"}, {"Location": "South America"}]
WAIT = 0.3


def upload(api_url: str, access_token: str, target_path: Path) -> Any:
    with open(target_path, "rb") as target:
        response = requests.post(
            api_url + "/edit/target",
            headers={"Authorization": "Bearer " + access_token},
            files={"file": target},
        ).json()
        return response.get("id_image")


def generate(api_url: str, access_token: str, image_id: str, person_id: int) -> None:
    keywords = KEYWORDS
    keyword = keywords[0]
    requests.post(
        api_url + "/edit/generate",
        headers={"Authorization": "Bearer " + access_token},
        json={
            "id_image": image_id,
            "id_person": person_id,
            "keyword": json.dumps(keyword),
            "category": "person",
        },
    )
    time.sleep(WAIT)
    for keyword in keywords[1:]:
        requests.post(
            api_url + "/edit/generate",
            headers={"Authorization": "Bearer " + access_token},
            json={
                "id_image": image_id,
                "id_person": person_id,
                "keyword": json.dumps(keyword),
                "category": "person",
            },
        )


def process_notifications(response: Any, image_id: str) -> Any:
    for notification in response.get("notifications_list", []):
        if notification["name"] != "edit_generate":
            return None, None
        if notification["data"]["address"] != image_id:
            return None, None
        return notification["data"], notification["id"]
    return None, None


def wait_for_results(api_url: str, access_token: str, image_id: str) -> list[tuple[int, str, str]]:
    def delete_notification(notification_id: int) -> None:
        requests.delete(
            api_url + "/notification/delete_json",
            headers={"Authorization": "Bearer " + access_token},
            json={"id": notification_id},
        )

    found = []
    count = 0
    for _ in range(600):
        response = requests.post(
            api_url + "/notification_by_name_json",
            headers={"Authorization": "Bearer " + access_token},
            json={"name_list": "edit_generate,error"},
        ).json()
        data, notification_id = process_notifications(response, image_id)
        if data is not None:
            delete_notification(notification_id)
            link = data["links"][0]
            found.append((data["id_person"], data["keyword"], link["l"]))
            count += 1
            if count == len(KEYWORDS):
                break
        time.sleep(0.02)
    return found


@pytest.fixture
def real(serve_v1: Callable[..., Any]) -> Any:
    """An emulator with image processing; mask time and wait have the ratio of the guide."""
    return serve_v1(transform=True, mask_seconds=WAIT * 0.9, generate_seconds=0.05)


def test_guide_runs_from_upload_to_pictures(real: Any, photo: bytes, tmp_path: Path) -> None:
    """All snippets work in order: upload, two keywords, notifications, deletion, links."""
    target_path = tmp_path / "image.jpg"
    target_path.write_bytes(photo)
    image_id = upload(real.url, "piktid-emulator", target_path)
    generate(real.url, "piktid-emulator", image_id, 0)
    found = wait_for_results(real.url, "piktid-emulator", image_id)
    assert [(person, json.loads(keyword)) for person, keyword, _ in found] == [(0, word) for word in KEYWORDS]
    pictures = [requests.get(link).content for _, _, link in found]
    assert all(picture.startswith(b"\xff\xd8") and picture != photo for picture in pictures)
    assert pictures[0] != pictures[1]
    assert real.notifications() == []
    assert [g["made_masks"] for g in real.state.generations()] == [True, False]


def test_quick_start_runs_as_written(real: Any, photo: bytes) -> None:
    """The fields of the quick start work: ``image_id``, a person as a string, ``name_list`` as a list."""
    headers = {"Authorization": "Bearer piktid-emulator"}
    answer = requests.post(real.url + "/edit/target", headers=headers, files={"file": photo}).json()
    assert answer["num_persons"] == 1
    (person,) = answer["coordinates_list"]
    assert (person["id"], person["approve"]) == (0, True)
    body = {"id_image": answer["image_id"], "id_person": "0", "keyword": '{"Location":"Oceania"}'}
    requests.post(real.url + "/edit/generate", headers=headers, json=body)
    real.ended()
    listed = requests.post(
        real.url + "/notification_by_name_json", headers=headers, json={"name_list": ["edit_generate"]}
    ).json()
    (notification,) = listed["notifications_list"]
    assert notification["name"] == "edit_generate"
    assert (notification["data"]["id_person"], notification["data"]["address"]) == (0, answer["image_id"])
    assert requests.get(notification["data"]["links"][0]["l"]).status_code == 200


def test_reader_of_the_guide_is_blocked_by_a_foreign_notification(real: Any, photo: bytes) -> None:
    """The known error of the guide is reproduced: it reads the first entry only."""
    real.state.v1.notifications.publish("edit_generate", {"address": "foreign", "links": []})
    real.ended()
    image = real.upload(photo)
    real.run(image)
    response = {"notifications_list": real.notifications(name_list="edit_generate,error")}
    assert len(response["notifications_list"]) == 2
    assert process_notifications(response, image) == (None, None)
