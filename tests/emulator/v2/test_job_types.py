# SPDX-License-Identifier: Apache-2.0
"""Flat-lay to model, packshots and recolouring: limits, prices, pictures, checked by plain HTTP."""

from __future__ import annotations

import io
from typing import Any

import pytest
from PIL import Image

from tests.emulator.conftest import Api, Serve, ended

Body = dict[str, Any]

FLAT: Body = {"identity_code": "PiktidSummer", "instructions": [{"prompt": "walking", "num_variations": 2}]}
PACKSHOT: Body = {"instructions": [{"style": "white_cutout"}, {"style": "free", "background": "navy"}]}
RECOLOR: Body = {"reference_text": "red", "num_variations": 2}
TYPES = {
    "flat_2_model": ("/flat-2-model", FLAT),
    "create_packshot": ("/create-packshot", PACKSHOT),
    "garment_recolor": ("/garment-recolor", RECOLOR),
}
#: Of the inputs.
COLOURS = ("orange", "teal")
EACH = pytest.mark.parametrize(("path", "body"), TYPES.values(), ids=TYPES)


def jpeg(colour: str = "orange") -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (60, 80), colour).save(out, "JPEG")
    return out.getvalue()


def submit(api: Api, path: str, body: Body, images: int = 2) -> Any:
    """Submit a job with new uploads."""
    files = [api.upload(f"{number}.jpg", jpeg(COLOURS[number % 2])) for number in range(images)]
    return api.post(path, {"project_id": api.project(), "images": files} | body)


def results(api: Api, path: str, body: Body) -> list[dict[str, Any]]:
    """Run a job to its end and return its results."""
    job_id = submit(api, path, body).json()["job_id"]
    api.await_event(lambda event: ended(event, job_id))
    rows: list[dict[str, Any]] = api.get(f"/jobs/{job_id}/results").json()["results"]
    return rows


@pytest.mark.parametrize(
    ("path", "body", "keys", "credits"),
    [
        pytest.param("/flat-2-model", FLAT, [(0, 0), (0, 1)], 6.0, id="flat_2_model"),
        pytest.param("/flat-2-model", FLAT | {"instructions": []}, [(0, 0)], 3.0, id="flat_2_model, default"),
        pytest.param("/create-packshot", PACKSHOT, [(0, 0), (0, 1)], 6.0, id="create_packshot"),
        pytest.param(
            "/garment-recolor", RECOLOR, [(0, 0), (0, 1), (1, 0), (1, 1)], 20.0, id="garment_recolor"
        ),
    ],
)
def test_outputs_and_price(
    api: Api, path: str, body: Body, keys: list[tuple[int, int]], credits: float
) -> None:
    """Inputs are combined, except for recolouring; an output costs 3, 5 or 10 credits by its size."""
    reply = submit(api, path, body)

    assert (reply.status_code, reply.json()["total_outputs"]) == (202, len(keys))
    (row,) = api.server.state.ledger()
    assert row["credits"] == credits
    job = api.server.state.v2.jobs.get(reply.json()["job_id"])
    assert [output.key for output in job.outputs] == keys


def test_packshot_index_is_a_variant(serve: Serve) -> None:
    """Which index of a packshot counts the instructions is contested."""
    api = serve(variants={"packshot_index": "instruction"})

    job_id = submit(api, "/create-packshot", PACKSHOT).json()["job_id"]

    assert [output.key for output in api.server.state.v2.jobs.get(job_id).outputs] == [(0, 0), (1, 0)]


@EACH
def test_pictures_are_changed_and_differ(serve: Serve, path: str, body: Body) -> None:
    """Each output is a readable picture that is neither an input nor another output."""
    api = serve(transform=True)

    pictures = [api.fetch(row["output"]["full_size"]).content for row in results(api, path, body)]

    assert len({*pictures, *map(jpeg, COLOURS)}) == len(pictures) + 2
    assert all(Image.open(io.BytesIO(data)).format == "JPEG" for data in pictures)


@pytest.mark.parametrize(
    ("path", "options", "size", "kind"),
    [
        pytest.param(
            "/flat-2-model", {"ar": "16:9", "format": "png"}, (1024, 576), "PNG", id="ratio and format"
        ),
        pytest.param("/flat-2-model", {"size": "2K"}, (1536, 2048), "JPEG", id="size"),
        pytest.param(
            "/create-packshot", {"width": 512, "height": 264}, (512, 264), "JPEG", id="width and height"
        ),
    ],
)
def test_picture_has_the_asked_size_and_format(
    serve: Serve, path: str, options: Body, size: tuple[int, int], kind: str
) -> None:
    """Size, ratio and format of the instruction are those of the output."""
    api = serve(transform=True)
    style = {"style": "free"} if path == "/create-packshot" else {}
    identity = {} if style else {"identity_code": "PiktidSummer"}

    (row,) = results(api, path, identity | {"instructions": [style | {"options": options}]})

    picture = Image.open(io.BytesIO(api.fetch(row["output"]["full_size"]).content))
    assert (picture.size, picture.format) == (size, kind)


@pytest.mark.parametrize(
    ("path", "body", "field"),
    [
        pytest.param("/flat-2-model", {"identity_code": None}, "identity_code", id="no identity"),
        pytest.param("/flat-2-model", {"instructions": [{}] * 11}, "instructions", id="eleven instructions"),
        pytest.param(
            "/flat-2-model",
            {"instructions": [{"num_variations": 5}]},
            "instructions.0.num_variations",
            id="five variations",
        ),
        pytest.param(
            "/flat-2-model",
            {"instructions": [{"options": {"size": "8K"}}]},
            "instructions.0.options.size",
            id="unknown size",
        ),
        pytest.param("/flat-2-model", {"options": {"model": "onda"}}, "options.model", id="unknown engine"),
        pytest.param("/create-packshot", {"instructions": []}, "instructions", id="no instruction"),
        pytest.param("/create-packshot", {"instructions": [{}]}, "instructions.0.style", id="no style"),
        pytest.param(
            "/create-packshot",
            {"instructions": [{"style": "free", "options": {"width": 260}}]},
            "instructions.0.options.width",
            id="width",
        ),
        pytest.param("/garment-recolor", {"reference_text": None}, None, id="recolour to nothing"),
        pytest.param(
            "/garment-recolor", {"reference_image": "other"}, "reference_image", id="unknown reference"
        ),
        pytest.param("/garment-recolor", {"processing_size": 2000}, "processing_size", id="processing size"),
    ],
)
def test_invalid_request_names_the_field(api: Api, path: str, body: Body, field: str | None) -> None:
    """A validation error has the API's body, and nothing is charged."""
    valid = dict(TYPES.values())[path]

    reply = submit(api, path, valid | body)

    assert reply.status_code == 422
    assert field in [item["field"] for item in reply.json()["detail"]]
    assert api.server.state.ledger() == []


@EACH
def test_more_images_than_a_job_takes(api: Api, path: str, body: Body) -> None:
    """Eleven images are refused."""
    assert submit(api, path, body, images=11).status_code == 422


@EACH
def test_each_type_has_its_own_rate_window(serve: Serve, path: str, body: Body) -> None:
    """The sixth submission in a minute is refused for each type on its own."""
    api = serve(jobs_per_minute=1)

    assert [submit(api, path, body).status_code for _ in range(2)] == [202, 429]
    assert api.swap().status_code == 202
