# SPDX-License-Identifier: Apache-2.0
"""The creation of identities as a job type: body, checks, price, recognition; no images and no project."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_provider_piktid.models import Job
from airflow_provider_piktid.models.identity_creation import IdentityCreation

WOMAN: dict[str, Any] = {
    "appearance": {"gender": "female", "age": 28},
    "face": {"eyes": "pale blue"},
    "hair": {"color": "ash blonde", "length": "long"},
    "num_variations": 3,
    "options": {"ar": "3:4", "size": "2K", "format": "jpg"},
}


def creation(*instructions: Any, **options: Any) -> IdentityCreation:
    return IdentityCreation(instructions=list(instructions) or [WOMAN], **options)


def test_body_is_the_brief_of_the_documents() -> None:
    """The brief of PiktID's own client is sent as it is, without a project and images."""
    assert creation(name="Spring catalog model").body([]) == {
        "instructions": [WOMAN],
        "options": {"model": "auto"},
        "name": "Spring catalog model",
    }


def test_input_assets_may_be_file_ids() -> None:
    """File ids of an upload, and the objects of the documents, are sent as objects."""
    job = creation({"prompt": "a", "input_assets": ["f-1", {"file_id": "f-2"}]})
    assert job.body([])["instructions"][0]["input_assets"] == [{"file_id": "f-1"}, {"file_id": "f-2"}]


@pytest.mark.parametrize(
    ("instruction", "options", "names"),
    [
        pytest.param({}, {}, r"instructions\[0\] describes nobody", id="nothing described"),
        pytest.param({"num_variations": 2}, {}, "appearance, face, hair", id="only a number"),
        pytest.param({"appearance": {}}, {}, "describes nobody", id="empty group"),
        pytest.param({"appearence": {"age": 3}}, {}, "did you mean 'appearance'", id="typo in a group"),
        pytest.param({"hair": {"colour": "red"}}, {}, "did you mean 'color'", id="typo in a field"),
        pytest.param({"hair": "red"}, {}, "hair must be a mapping", id="group as text"),
        pytest.param({"hair": {"color": ["red"]}}, {}, "hair.color must be a text", id="field as list"),
        pytest.param({"prompt": " "}, {}, "prompt must be a text", id="blank prompt"),
        pytest.param({"prompt": "a", "num_variations": 9}, {}, "from 1 to 8", id="nine variations"),
        pytest.param({"prompt": "a", "options": {"ar": "2:1"}}, {}, "21:9", id="unknown ratio"),
        pytest.param({"prompt": "a", "options": {"size": "8K"}}, {}, "1K, 2K, 4K", id="unknown size"),
        pytest.param({"prompt": "a", "options": {"format": "gif"}}, {}, "png, jpg", id="unknown format"),
        pytest.param({"prompt": "a", "input_assets": ["f"] * 4}, {}, "4 files.* takes 3", id="four assets"),
        pytest.param({"prompt": "a", "input_assets": "f"}, {}, "must be a list", id="one asset as text"),
        pytest.param({"prompt": "a"}, {"model": "onda"}, "orbita", id="an engine of the swap"),
        pytest.param({"prompt": "a"}, {"name": " "}, "name must be a text", id="blank name"),
        pytest.param({"prompt": "a"}, {"extra": {"name": "x"}}, "extra repeats arguments", id="repeated"),
        pytest.param({"prompt": "a", "options": {"size": "2K"}}, {"model": "orbita"}, "1K", id="orbita, 2K"),
        pytest.param(
            {"prompt": "a", "options": {"ar": "4:5"}}, {"model": "orbita"}, "4:5", id="orbita, ratio"
        ),
        pytest.param(
            {"prompt": "a", "input_assets": ["f"]}, {"model": "orbita"}, "takes none", id="orbita, asset"
        ),
    ],
)
def test_invalid_argument_is_refused_before_anything_is_paid(
    instruction: dict[str, Any], options: dict[str, Any], names: str
) -> None:
    """The error names the field and what is allowed."""
    with pytest.raises(ValueError, match=names):
        creation(instruction, **options)


@pytest.mark.parametrize("number", [0, 11])
def test_number_of_instructions_is_limited(number: int) -> None:
    """A job has one to ten instructions."""
    with pytest.raises(ValueError, match="instructions"):
        IdentityCreation(instructions=[WOMAN] * number)


def test_job_is_one_without_images() -> None:
    """There is one job of no images, and giving it some is an error."""
    job = creation(WOMAN, {"prompt": "a", "options": {"size": "1K"}})

    assert (job.split(0, 10), job.outputs(0), job.credits_per_output) == ([0], 4, 4.5)
    job.check([])
    with pytest.raises(ValueError, match="takes no images"):
        job.check(["f-1"])


def told(job: IdentityCreation, **changes: Any) -> Job:
    """Return a job as PiktID would list it for this request."""
    body = job.body([])
    options = {"model": "auto", "instructions": body["instructions"], "name": body.get("name")}
    answer = {"job_id": "j", "job_type": job.word, "status": "processing", "processing_options": options}
    return Job.model_validate(answer | changes)


@pytest.mark.parametrize(
    ("changes", "verdict"),
    [
        pytest.param({}, True, id="all told"),
        pytest.param({"processing_options": {"model": "auto"}}, None, id="no instructions told"),
        pytest.param({"job_type": "identity_preprocessing"}, False, id="another type"),
        pytest.param({"processing_options": {"model": "seedream"}}, False, id="another engine"),
        pytest.param({"processing_options": {"name": "Other"}}, False, id="another name"),
        pytest.param({"processing_options": {"instructions": [{"prompt": "b"}]}}, False, id="another brief"),
    ],
)
def test_own_job_is_recognised(changes: dict[str, Any], verdict: bool | None) -> None:
    """A listed job is ours if brief, engine and name agree, and in doubt if its brief is not told."""
    assert creation(name="Spring").matches(told(creation(name="Spring"), **changes), 0) is verdict
