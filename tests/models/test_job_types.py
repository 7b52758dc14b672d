# SPDX-License-Identifier: Apache-2.0
"""Recolouring, flat-lay to model and packshots as job types: bodies, checks, prices, recognition."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_provider_piktid.models import Job
from airflow_provider_piktid.models.flat_to_model import FlatToModel
from airflow_provider_piktid.models.garment_recolor import GarmentRecolor
from airflow_provider_piktid.models.job_type import JobType
from airflow_provider_piktid.models.packshot import Packshot


def recolor(**changes: Any) -> GarmentRecolor:
    return GarmentRecolor(**({"project_id": "prj-1", "reference_text": "red"} | changes))


def flat(**changes: Any) -> FlatToModel:
    return FlatToModel(**({"project_id": "prj-1", "identity_code": "id-1"} | changes))


def packshot(**changes: Any) -> Packshot:
    return Packshot(**({"project_id": "prj-1", "instructions": [{"style": "free"}]} | changes))


MAKERS = {"garment_recolor": recolor, "flat_2_model": flat, "create_packshot": packshot}


def test_body_of_a_recolour_is_flat() -> None:
    """The defaults are PiktID's and are sent; what is not given is not."""
    assert recolor().body(["f-1"]) == {
        "project_id": "prj-1",
        "images": ["f-1"],
        "reference_text": "red",
        "num_variations": 1,
        "processing_size": 2048,
        "model": "auto",
        "use_anchor": True,
        "post_process": True,
        "add_ai_watermark": False,
    }


def test_body_of_a_flat_lay_has_identity_and_options() -> None:
    """Notes become objects in ``images``; without instructions an empty list is sent."""
    assert flat(notes={"f-2": "inner shirt"}, review_config={"requires_review": True}).body(
        ["f-1", "f-2"]
    ) == {
        "identity_code": "id-1",
        "project_id": "prj-1",
        "images": ["f-1", {"file_id": "f-2", "note": "inner shirt"}],
        "instructions": [],
        "post_process": False,
        "options": {"model": "auto", "use_anchor": True},
        "review_config": {"requires_review": True},
    }


def test_body_of_a_packshot_has_the_anchor() -> None:
    """A packshot has no identity; its anchor is sent with PiktID's defaults."""
    assert packshot().body(["f-1"]) == {
        "project_id": "prj-1",
        "images": ["f-1"],
        "instructions": [{"style": "free"}],
        "post_process": False,
        "options": {"model": "auto", "use_anchor": False, "anchor_index": 0},
    }


@pytest.mark.parametrize(
    ("make", "arguments", "names"),
    [
        pytest.param(recolor, {"reference_text": None}, "instruction", id="recolour to nothing"),
        pytest.param(recolor, {"reference_text": ""}, "reference_text", id="recolour to a blank text"),
        pytest.param(recolor, {"num_variations": 9}, "num_variations", id="nine variations"),
        pytest.param(recolor, {"processing_size": 1000}, "1024, 2048, 4096", id="unknown processing size"),
        pytest.param(recolor, {"processing_size": "2048"}, "processing_size", id="processing size as text"),
        pytest.param(recolor, {"model": "onda"}, "gpt_image", id="an engine of the swap"),
        pytest.param(recolor, {"use_anchor": None}, "use_anchor", id="no anchor value"),
        pytest.param(recolor, {"extra": {"model": "auto"}}, "extra repeats arguments: model", id="repeated"),
        pytest.param(flat, {"identity_code": ""}, "identity_code", id="no identity"),
        pytest.param(flat, {"instructions": [{"num_variations": 5}]}, "from 1 to 4", id="five variations"),
        pytest.param(flat, {"instructions": [{"options": {"ar": "2:1"}}]}, "1:1, 3:4", id="unknown ratio"),
        pytest.param(flat, {"instructions": [{"seed": -1}]}, "seed", id="negative seed"),
        pytest.param(flat, {"notes": {"f-1": ""}}, "notes", id="blank note"),
        pytest.param(flat, {"review_config": "yes"}, "review_config", id="review as text"),
        pytest.param(packshot, {"instructions": []}, "at least one", id="no instruction"),
        pytest.param(packshot, {"instructions": [{"prompt": "a"}]}, "needs the field 'style'", id="no style"),
        pytest.param(packshot, {"instructions": [{"style": "flat"}]}, "ghost_mannequin", id="unknown style"),
        pytest.param(
            packshot,
            {"instructions": [{"style": "free", "options": {"width": 1024}}]},
            "width and height together",
            id="width alone",
        ),
        pytest.param(
            packshot,
            {"instructions": [{"style": "free", "options": {"width": 1020, "height": 1024}}]},
            "multiple of 8",
            id="width not a multiple of 8",
        ),
        pytest.param(packshot, {"anchor_index": 1}, "anchor_index", id="anchor behind the last output"),
        pytest.param(packshot, {"model": "gpt_image"}, "seedream", id="an engine of the recolouring"),
    ],
)
def test_invalid_argument_is_refused_before_anything_is_paid(
    make: Any, arguments: dict[str, Any], names: str
) -> None:
    """The error names the argument or what is allowed."""
    with pytest.raises(ValueError, match=names):
        make(**arguments)


@pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)
def test_more_images_than_a_job_takes(make: Any) -> None:
    """Eleven images in one job are refused."""
    with pytest.raises(ValueError, match="11 file ids, a job takes 10"):
        make().check([f"f-{number}" for number in range(11)])


@pytest.mark.parametrize(
    ("job", "images", "jobs", "outputs", "price"),
    [
        pytest.param(recolor(num_variations=2), 12, [10, 2], 20, 5.0, id="recolour: each image"),
        pytest.param(recolor(processing_size=4096), 1, [1], 10, 10.0, id="recolour: largest size"),
        pytest.param(flat(), 3, [3], 1, 5.0, id="flat lay: one output without instructions"),
        pytest.param(
            flat(instructions=[{"num_variations": 4}, {}]), 3, [3], 5, 5.0, id="flat lay: variations"
        ),
        pytest.param(
            packshot(instructions=[{"style": "free", "options": {"size": "1K"}, "num_variations": 8}]),
            2,
            [2],
            8,
            3.0,
            id="packshot: small",
        ),
    ],
)
def test_jobs_outputs_and_price(
    job: JobType, images: int, jobs: list[int], outputs: int, price: float
) -> None:
    """Recolouring makes outputs for each image; the others combine all images of a job."""
    assert job.split(images, 10) == jobs
    assert (job.outputs(10), job.credits_per_output) == (outputs, price)


def told(job: JobType, images: int = 2, **changes: Any) -> Job:
    """Return a job as PiktID would list it for this request."""
    body = job.body([f"f-{number}" for number in range(images)])
    options = {name: value for name, value in body.items() if name not in ("images", "options")}
    answer = {
        "job_id": "job-1",
        "job_type": job.word,
        "status": "processing",
        "total_images": images,
        "should_post_process": body["post_process"],
        "identity_code": body.get("identity_code"),
        "processing_options": options | body.get("options", {}),
    }
    return Job.model_validate(answer | changes)


@pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)
@pytest.mark.parametrize(
    ("changes", "verdict"),
    [
        pytest.param({}, True, id="all told"),
        pytest.param({"processing_options": None}, None, id="no options told"),
        pytest.param({"job_type": "model_swap"}, False, id="another type"),
        pytest.param({"processing_options": {"model": "seedream"}}, False, id="another engine"),
        pytest.param({"processing_options": {"use_anchor": "other"}}, False, id="another option"),
    ],
)
def test_own_job_is_recognised(make: Any, changes: dict[str, Any], verdict: bool | None) -> None:
    """A listed job is ours if all options agree, somebody else's if one differs, and in doubt if too few are told."""
    assert make().matches(told(make(), **changes), 2) is verdict


@pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)
def test_content_leaves_out_what_changes_no_picture(make: Any) -> None:
    """Project and ``force_model`` do not make another purchase; the type does."""
    one, other = make().content(), make(project_id="prj-2", force_model=True).content()

    assert one == other
    assert one["job_type"] == make().word
