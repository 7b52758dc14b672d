# SPDX-License-Identifier: Apache-2.0
"""Each point on which the documents disagree is a variant."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable
from typing import Any

import pytest

from airflow_provider_piktid.emulator import VARIANTS
from airflow_provider_piktid.emulator.variants import Variants

Check = Callable[[Any], Any]


def result(api: Any, **more: Any) -> dict[str, Any]:
    return dict(api.get(f"/jobs/{api.run(**more)}/results").json()["results"][0])


def second_project(api: Any) -> Any:
    api.project("spring")
    return api.post("/project", {"project_name": "spring"}).json()


def event_data(api: Any) -> set[str]:
    api.run()
    return {key for key in next(api.events())["data"] if key in ("id_task", "job_id")}


def event_names(api: Any) -> list[str]:
    job_id = api.start()
    names = []
    for event in api.events(id_task=job_id):
        names.append(event["name"])
        if event["data"]["status"] == "completed" and event["name"] != "image_result":
            break
    return names


def fresh(api: Any) -> list[int]:
    job_id = api.start()
    return [api.get(f"/jobs/{job_id}/status").status_code for _ in range(3)]


def conflict(api: Any) -> Any:
    files = {"image": ("a.png", PIXEL, "image/png")}
    return [api.call("POST", "/identity/upload", files=files) for _ in range(2)][1].json().keys()


def over_rate(api: Any) -> Any:
    image = api.upload()
    return [api.swap([image]) for _ in range(6)][-1].json()["error"]


def failed_job(api: Any) -> Any:
    api.server.faults.add("job", "fail_image", indices=[0])
    image = api.upload()
    return api.get(f"/jobs/{api.run([image, image])}/results").json()


def unfinished(api: Any) -> int:
    api.server.faults.add("job", "unknown_status", seconds=1000)
    return len(api.get(f"/jobs/{api.start()}/results").json()["results"])


def pending_listing(api: Any) -> list[int]:
    """Return the number of listed images of each job in the gallery, of which one is running."""
    api.server.faults.add("job", "never_end")
    api.start()
    return [len(job["images"]) for job in api.get("/gallery/by-job").json()["jobs"]]


def zip_twice(api: Any) -> list[int]:
    link = api.post("/download", {"job_id": api.run()}).json()["download_url"]
    return [api.fetch(link).status_code for _ in range(2)]


def checksum(api: Any) -> tuple[str, bool]:
    """Return the checksum header of a result and whether its value is the base64 or hex MD5 or SHA-256."""
    answer = api.fetch(result(api)["url"])
    md5, sha = hashlib.md5(answer.content), hashlib.sha256(answer.content)
    encoded = base64.b64encode(md5.digest()).decode()
    known = {
        f'"{md5.hexdigest()}"',
        encoded,
        f"crc32c=AAAAAA==,md5={encoded}",
        base64.b64encode(sha.digest()).decode(),
    }
    names = ("Content-MD5", "x-goog-hash", "x-amz-checksum-sha256", "ETag")
    name = next(name for name in names if name in answer.headers)
    return name, answer.headers[name] in known


def failed_job_status(api: Any) -> Any:
    return failed_job(api)["status"]


PIXEL = bytes.fromhex(
    "89504e470d0a1a0a0000000d4948445200000001000000010802000000907753de0000000c4944415408d763f8cfc000000301"
    "0100c9fe92ef0000000049454e44ae426082"
)

CASES: list[tuple[str, str, Check, Any]] = [
    ("events", "both", event_names, ["batch_edit", "image_result", "batch_edit"]),
    ("events", "docs", event_names, ["batch_edit", "image_result", "batch_edit"]),
    ("events", "seed", event_names, ["completed"]),
    ("job_id_key", "both", event_data, {"id_task", "job_id"}),
    (
        "job_id_key",
        "job_id",
        lambda api: (api.start(), set(next(api.events())["data"]) & {"id_task", "job_id"})[1],
        {"job_id"},
    ),
    (
        "job_id_key",
        "id_task",
        lambda api: (api.start(), set(next(api.events())["data"]) & {"id_task", "job_id"})[1],
        {"id_task"},
    ),
    (
        "notifications_post",
        "404",
        lambda api: api.post("/notifications", {"name_list": "a"}).status_code,
        404,
    ),
    ("result_url", "output", lambda api: result(api).keys() & {"url", "output"}, {"output"}),
    ("result_url", "url", lambda api: result(api).keys() & {"url", "output"}, {"url"}),
    ("failed_output", "null", lambda api: failed_job(api)["results"][0]["output"], None),
    (
        "post_process_default",
        "true",
        lambda api: api.get(f"/jobs/{api.run()}/status").json()["should_post_process"],
        True,
    ),
    (
        "post_process_default",
        "false",
        lambda api: api.get(f"/jobs/{api.run()}/status").json()["should_post_process"],
        False,
    ),
    ("images_limit", "2", lambda api: api.swap([api.upload()] * 3).status_code, 422),
    ("images_limit", "0", lambda api: api.swap([api.upload()] * 30).status_code, 202),
    ("upload_strict", "on", lambda api: api.post("/upload", {"filename": "a.jpg"}).status_code, 422),
    ("upload_strict", "on", lambda api: api.post("/upload", {"project_name": "none"}).status_code, 404),
    (
        "echo_project",
        "on",
        lambda api: (api.project("p"), api.post("/upload", {"project_name": "p"}).json()["project_name"])[1],
        "p",
    ),
    ("project_status", "200", lambda api: api.post("/project", {"project_name": "p"}).status_code, 200),
    ("project_conflict", "bare", lambda api: "project_id" in second_project(api), False),
    ("identity_conflict", "identity_code", lambda api: "identity_code" in conflict(api), True),
    ("identity_conflict", "bare", lambda api: set(conflict(api)), {"error"}),
    ("job_status", "200", lambda api: api.swap().status_code, 200),
    ("job_status", "201", lambda api: api.swap().status_code, 201),
    ("fresh_404", "2", fresh, [404, 404, 200]),
    ("results", "seed", lambda api: set(result(api)), {"image_index", "url", "model_used", "status"}),
    ("results", "g1", lambda api: result(api).keys() & {"id", "model_used", "download_filename"}, set()),
    ("results", "g1", lambda api: "credits_used" in failed_job(api), False),
    (
        "draft_id",
        "both",
        lambda api: result(api).keys() & {"id", "image_result_id"},
        {"id", "image_result_id"},
    ),
    (
        "draft_id",
        "image_result_id",
        lambda api: result(api).keys() & {"id", "image_result_id"},
        {"image_result_id"},
    ),
    ("validation_status", "400", lambda api: api.post("/project", {}).status_code, 400),
    ("engines", "seed", lambda api: api.swap(swap_options={"model": "nano_banana_2"}).status_code, 422),
    ("billing", "balance", lambda api: api.get("/billing/credits").json(), {"credits": 1000.0}),
    ("zip_use", "once", zip_twice, [200, 404]),
    ("partial_job", "failed", failed_job_status, "failed"),
    ("partial_rows", "finished", unfinished, 0),
    ("partial_rows", "all", unfinished, 1),
    ("checksum", "none", checksum, ("ETag", False)),
    ("checksum", "etag", checksum, ("ETag", True)),
    ("checksum", "opaque_etag", checksum, ("ETag", False)),
    ("checksum", "content_md5", checksum, ("Content-MD5", True)),
    ("checksum", "x_goog_hash", checksum, ("x-goog-hash", True)),
    ("checksum", "x_amz_checksum", checksum, ("x-amz-checksum-sha256", True)),
    ("gallery_pending", "no_images", pending_listing, [0]),
    ("gallery_pending", "hidden", pending_listing, []),
    ("refund_failed", "yes", lambda api: failed_job(api)["credits_used"], 1.0),
    (
        "unuploaded",
        "reject",
        lambda api: api.swap([api.post("/upload", {}).json()["file_id"]]).status_code,
        422,
    ),
    (
        "unknown_fields",
        "reject",
        lambda api: api.post("/project", {"project_name": "a", "x": 1}).status_code,
        422,
    ),
]


@pytest.mark.parametrize(
    ("name", "value", "look", "expected"), CASES, ids=[f"{name}={value}" for name, value, _, _ in CASES]
)
def test_variant_changes_a_response(
    serve: Callable[..., Any], name: str, value: str, look: Check, expected: Any
) -> None:
    """Each variant changes a response."""
    api = serve(variants={name: value})
    assert look(api) == expected


def test_rate_limit_can_have_the_message_of_the_identity_limit(serve: Callable[..., Any]) -> None:
    """With ``rate_429=identity_cap`` the message is that of the identity limit."""
    api = serve(jobs_per_minute=5, variants={"rate_429": "identity_cap"})
    assert over_rate(api) == "Maximum identities reached."


def test_refused_submissions_can_count(serve: Callable[..., Any]) -> None:
    """With ``rate_counts=all`` refused submissions extend the rate limit."""
    api = serve(jobs_per_minute=1, variants={"rate_counts": "all"})
    image = api.upload()
    api.swap([image])
    api.server.state.clock.advance(40)
    assert api.swap([image]).status_code == 429
    api.server.state.clock.advance(30)
    assert api.swap([image]).status_code == 429


def test_undecodable_picture_can_fail_the_job(serve: Callable[..., Any]) -> None:
    """With ``undecodable=job`` one unreadable picture fails the whole job."""
    api = serve(transform=True, variants={"undecodable": "job"})
    assert api.get(f"/jobs/{api.run([api.upload(data=b'x')])}/status").json()["status"] == "failed"


def test_refresh_token_can_be_single_use(serve: Callable[..., Any]) -> None:
    """With ``refresh_reuse=refuse`` a refresh token works once."""
    api = serve(variants={"refresh_reuse": "refuse"})
    pair = api.call("POST", "/auth/login", auth=("demo@example.com", "piktid-emulator")).json()
    body = {"refresh_token": pair["refresh_token"]}
    assert [api.post("/auth/refresh", body).status_code for _ in range(2)] == [200, 401]


def test_identity_without_face_can_be_refused(serve: Callable[..., Any], landscape: bytes) -> None:
    """With ``identity_face=reject`` the upload returns 400."""
    api = serve(transform=True, variants={"identity_face": "reject"})
    files = {"image": ("a.png", landscape, "image/png")}
    assert api.call("POST", "/identity/upload", files=files).status_code == 400


def test_variants_are_set_at_run_time(api: Any) -> None:
    """A variant can be set over HTTP; an invalid value is refused."""
    assert api.post("/_emulator/variants", {"project_status": 200}).status_code == 200
    assert api.post("/project", {"project_name": "a"}).status_code == 200
    assert api.post("/_emulator/variants", {"project_status": "299"}).status_code == 400


@pytest.mark.parametrize(
    "chosen", [{"nothing": "x"}, {"events": "loud"}, {"fresh_404": "-1"}, {"fresh_404": "two"}], ids=str
)
def test_unknown_variant_is_refused(chosen: dict[str, str]) -> None:
    """A misspelt variant or value is an error."""
    with pytest.raises(ValueError, match="variant"):
        Variants(chosen)


def test_defaults_are_the_first_values() -> None:
    """By default each variant has its first value."""
    assert Variants().as_dict() == {name: variant.default for name, variant in VARIANTS.items()}
