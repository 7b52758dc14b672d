# SPDX-License-Identifier: Apache-2.0
"""Drafts of identities, their promotion, and presets: checked by plain HTTP against the documents' own samples."""

from __future__ import annotations

import io
from typing import Any

import pytest
from PIL import Image

from tests.emulator.conftest import Api, Serve, ended
from tests.emulator.v2.test_job_types import jpeg

#: The brief of PiktID's own client.
BRIEF: dict[str, Any] = {
    "instructions": [
        {
            "appearance": {
                "gender": "female",
                "age": 28,
                "ethnicity": "North European",
                "skin": "light",
                "build": "slim",
                "expression": "confident and relaxed",
            },
            "face": {"eyes": "pale blue", "eyebrows": "natural arched", "marks": "freckles"},
            "hair": {"color": "ash blonde", "length": "long", "style": "wavy"},
            "num_variations": 3,
            "options": {"ar": "3:4", "size": "2K", "format": "jpg"},
        }
    ],
    "options": {"model": "auto"},
    "name": "Spring catalog model",
}
CREATE, PROMOTE, EXTRACT = "/identity/create", "/identity/promote-generated", "/preset/extract-from-image"


def drafts(api: Api, **changes: Any) -> list[dict[str, Any]]:
    """Create drafts, wait for them, and return their results."""
    job_id = api.post(CREATE, BRIEF | changes).json()["job_id"]
    api.await_event(lambda event: ended(event, job_id))
    rows: list[dict[str, Any]] = api.get(f"/jobs/{job_id}/results").json()["results"]
    return rows


def promote(api: Api, number: int, **more: Any) -> Any:
    return api.post(PROMOTE, {"image_result_id": number, **more})


def test_creation_answers_as_documented(api: Api) -> None:
    """The answer has the fields of the reference; each variation of an instruction is a draft and is charged."""
    answer = api.post(CREATE, BRIEF)

    assert answer.status_code == 202
    assert set(answer.json()) == {"job_id", "status", "num_instructions", "total_variations", "message"}
    assert (answer.json()["num_instructions"], answer.json()["total_variations"]) == (1, 3)
    (row,) = api.server.state.ledger()
    assert (row["job_type"], row["credits"], row["project_key"]) == ("identity_creation", 15.0, None)


def test_drafts_are_faces_that_differ(serve: Serve) -> None:
    """Each draft is a picture of the asked size, unlike the others; a draft uses up no place for an identity."""
    api = serve(transform=True)

    pictures = [api.fetch(row["output"]["full_size"]).content for row in drafts(api)]

    assert len(set(pictures)) == 3
    assert {Image.open(io.BytesIO(data)).size for data in pictures} == {(1536, 2048)}
    assert api.get("/identity", ownership="mine").json()["identities"] == []


def test_brief_is_seen_in_the_draft(serve: Serve) -> None:
    """Hair has the colour of the brief."""
    api = serve(transform=True)
    small = {"options": {"size": "1K"}}

    def hair(colour: str) -> Any:
        (row,) = drafts(api, instructions=[{"hair": {"color": colour}, **small}])
        image = Image.open(io.BytesIO(api.fetch(row["output"]["full_size"]).content))
        return image.getpixel((image.width // 2, int(image.height * 0.27)))

    red, blue = hair("red"), hair("blue")
    assert red[0] > red[2]
    assert blue[2] > blue[0]


def test_promotion_answers_as_documented(api: Api) -> None:
    """A promoted draft is an identity of the account: 201, 50 credits, and preprocessing with notifications."""
    (first, *_) = drafts(api)

    answer = promote(api, first["id"])

    assert answer.status_code == 201
    assert set(answer.json()) == {"identity_code", "preprocessing_job_id", "status", "message"}
    job_id = answer.json()["preprocessing_job_id"]
    api.await_event(
        lambda event: (
            event["name"] == "identity_preprocessing"
            and event["data"]["job_id"] == job_id
            and event["data"]["status"] == "completed"
        )
    )
    code = answer.json()["identity_code"]
    assert api.get(f"/identity/{code}/status").json()["preprocessing_status"] == "completed"
    assert api.get(f"/identity/{code}").json()["name"] == "Spring catalog model"
    assert api.server.state.ledger()[-1]["credits"] == 50.0
    assert api.get("/billing/credits").json()["total_credits"] == 65.0


def test_second_promotion_names_the_identity_and_costs_nothing(api: Api) -> None:
    """A draft that was promoted before answers 409 with the code of its identity."""
    (first, *_) = drafts(api)
    code = promote(api, first["id"]).json()["identity_code"]
    left = api.server.state.credits.balance

    answer = promote(api, first["id"], name="Another name")

    assert (answer.status_code, answer.json()["identity_code"]) == (409, code)
    assert api.server.state.credits.balance == left


def test_name_of_the_job_gets_a_number_and_an_asked_one_does_not(api: Api) -> None:
    """Names are unique: that of the job is changed if it is taken, one of the promotion is refused with a bare 409."""
    first, second, third = drafts(api)

    codes = [promote(api, row["id"]).json()["identity_code"] for row in (first, second)]
    refused = promote(api, third["id"], name="Spring catalog model")

    names = [api.get(f"/identity/{code}").json()["name"] for code in codes]
    assert names == ["Spring catalog model", "Spring catalog model 2"]
    assert (refused.status_code, "identity_code" in refused.json()) == (409, False)


@pytest.mark.parametrize(
    ("number", "status"),
    [
        pytest.param(9999, 404, id="unknown"),
        pytest.param("7", 422, id="text"),
        pytest.param(None, 422, id="none"),
    ],
)
def test_draft_that_does_not_exist_is_refused(api: Api, number: Any, status: int) -> None:
    """Only the number of a draft can be promoted."""
    assert promote(api, number).status_code == status


def test_output_of_another_job_type_is_no_draft(api: Api) -> None:
    """The number of a swap's output is not found."""
    job_id = api.run()
    (row,) = api.get(f"/jobs/{job_id}/results").json()["results"]

    assert promote(api, row["id"]).status_code == 404


def test_draft_that_failed_cannot_be_promoted(api: Api) -> None:
    """A draft without a picture answers 400."""
    api.server.faults.add("job", "fail_image", indices=[0])
    (first, *_) = drafts(api)

    assert promote(api, first["id"]).status_code == 400


@pytest.mark.parametrize(
    ("settings", "status", "text"),
    [
        pytest.param({"max_identities": 0}, 429, "Maximum identities reached.", id="no room"),
        pytest.param({"credits": 20.0}, 402, "Insufficient credits", id="no credits"),
    ],
)
def test_promotion_needs_room_and_credits(
    serve: Serve, settings: dict[str, Any], status: int, text: str
) -> None:
    """A full account answers 429 and an empty one 402, and no identity is made."""
    api = serve(**settings)
    (first, *_) = drafts(api)

    answer = promote(api, first["id"])

    assert (answer.status_code, text in answer.json()["error"]) == (status, True)
    assert api.get("/identity", ownership="mine").json()["identities"] == []


def test_creation_and_promotion_have_windows_of_their_own(serve: Serve) -> None:
    """The sixth request in a minute is refused for each endpoint on its own."""
    api = serve(jobs_per_minute=1)
    first, second, *_ = drafts(api)

    assert api.post(CREATE, BRIEF).status_code == 429
    assert [promote(api, row["id"]).status_code for row in (first, second)] == [201, 429]


def one(**fields: Any) -> dict[str, Any]:
    return {"instructions": [fields]}


ORBITA = {"options": {"model": "orbita"}}


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        pytest.param({"instructions": []}, "instructions", id="no instruction"),
        pytest.param({"instructions": [{"prompt": "a"}] * 11}, "instructions", id="eleven instructions"),
        pytest.param(one(num_variations=2), "instructions.0.None", id="nothing described"),
        pytest.param(
            one(prompt="a", num_variations=9), "instructions.0.num_variations", id="nine variations"
        ),
        pytest.param(one(prompt="a", options={"ar": "2:1"}), "instructions.0.options.ar", id="ratio"),
        pytest.param(
            one(prompt="a", options={"format": "gif"}), "instructions.0.options.format", id="format"
        ),
        pytest.param(one(hair="red"), "instructions.0.hair", id="group as text"),
        pytest.param(
            one(prompt="a", input_assets=[{"file_id": "none"}]), "instructions.0.input_assets.0", id="asset"
        ),
        pytest.param({"options": {"model": "onda"}}, "options.model", id="engine of the swap"),
        pytest.param(
            one(prompt="a", options={"size": "2K"}) | ORBITA, "instructions.0.options.size", id="orbita"
        ),
    ],
)
def test_invalid_brief_names_the_field(api: Api, changes: dict[str, Any], field: str) -> None:
    """A validation error has the API's body, and nothing is charged."""
    answer = api.post(CREATE, BRIEF | changes)

    assert answer.status_code == 422
    assert field in [item["field"] for item in answer.json()["detail"]]
    assert api.server.state.ledger() == []


def test_draft_shows_its_input_assets(api: Api) -> None:
    """The files that an instruction names are the inputs of its drafts; more than three are refused."""
    files = [api.upload(f"{number}.jpg", jpeg()) for number in range(4)]
    assets = [{"file_id": file_id} for file_id in files]

    (row,) = drafts(api, **one(prompt="a", input_assets=assets[:3]))

    assert [link["uuid"] for link in row["inputs"]] == files[:3]
    assert api.post(CREATE, BRIEF | one(prompt="a", input_assets=assets)).status_code == 422


@pytest.mark.parametrize(
    ("kind", "keys"),
    [
        pytest.param(None, {"prompt", "pose", "background"}, id="default"),
        pytest.param("flat_2_model", {"prompt", "pose", "background"}, id="flat_2_model"),
        pytest.param("model_swap", {"prompt"}, id="model_swap"),
        pytest.param("create_packshot", {"style", "background", "lighting"}, id="create_packshot"),
        pytest.param("identity_creation", {"appearance", "hair", "camera"}, id="identity_creation"),
    ],
)
def test_preset_answers_as_documented(api: Api, kind: str | None, keys: set[str]) -> None:
    """A preset is answered at once, with the fields of the reference, and costs credits."""
    file_id = api.upload("a.jpg", jpeg())
    left = api.server.state.credits.balance

    answer = api.post(EXTRACT, {"file_id": file_id} | ({"type": kind} if kind else {}))

    assert answer.status_code == 200
    assert set(answer.json()) == {"instruction_data", "suggested_name", "suggested_description", "file_id"}
    assert set(answer.json()["instruction_data"]) == keys
    assert api.server.state.credits.balance == left - 1
    assert [preset["file_id"] for preset in api.server.state.presets()] == [file_id]


def test_presets_of_different_pictures_differ(api: Api) -> None:
    """The preset has the main colour of the picture."""
    files = [api.upload("a.jpg", jpeg(colour)) for colour in ("orange", "teal")]
    first, second = (api.post(EXTRACT, {"file_id": file_id}).json()["instruction_data"] for file_id in files)
    assert first["background"] != second["background"]


@pytest.mark.parametrize("kind", ["flat_2_model", "poster"], ids=["text file", "unknown type"])
def test_preset_of_no_picture_or_type_costs_nothing(api: Api, kind: str) -> None:
    """A file that is not a picture and an unknown type are refused."""
    file_id = api.upload("a.jpg", b"no picture" if kind == "flat_2_model" else jpeg())

    assert api.post(EXTRACT, {"file_id": file_id, "type": kind}).status_code == 422
    assert api.server.state.presets() == []


def test_page_shows_drafts_identity_and_preset(api: Api) -> None:
    """The page lists the drafts with their numbers, the promoted identity, and the preset."""
    (first, *_) = drafts(api)
    code = promote(api, first["id"]).json()["identity_code"]
    api.post(EXTRACT, {"file_id": api.upload("a.jpg", jpeg())})

    page = api.fetch(api.url).text

    assert f"draft {first['id']}" in page
    assert code in page
    assert "<h2>Presets</h2>" in page
