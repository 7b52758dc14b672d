# SPDX-License-Identifier: Apache-2.0
"""The model swap as a job type: its body, what it refuses, and which jobs it recognises as its own."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_provider_piktid.models import Job
from airflow_provider_piktid.models.model_swap import ModelSwap


def swap(**changes: Any) -> ModelSwap:
    return ModelSwap(**({"identity_code": "id-1", "project_id": "prj-1"} | changes))


def test_body_defaults_send_post_process_and_the_two_documented_options() -> None:
    """``post_process``, model and variations are always sent; options that are off are not."""
    assert swap().body(["f-1"]) == {
        "identity_code": "id-1",
        "project_id": "prj-1",
        "images": ["f-1"],
        "post_process": False,
        "swap_options": {"model": "auto", "num_variations": 1},
    }


@pytest.mark.parametrize(
    ("arguments", "options"),
    [
        pytest.param({"model": "onda"}, {"model": "onda"}, id="engine"),
        pytest.param({"model": "new", "force_model": True}, {"model": "new"}, id="forced unknown engine"),
        pytest.param({"num_variations": 4}, {"num_variations": 4}, id="most variations"),
        pytest.param({"add_ai_watermark": True}, {"add_ai_watermark": True}, id="watermark"),
        pytest.param({"use_anchor": False}, {"use_anchor": False}, id="anchor off is sent when given"),
        pytest.param({"use_alternative_method": True}, {"model": "nano_banana_pro"}, id="legacy flag"),
        pytest.param(
            {"swap_options": {"use_alternative_method": True}},
            {"model": "nano_banana_pro"},
            id="legacy flag in the options",
        ),
        pytest.param({"swap_options": {"seed": 7}}, {"seed": 7}, id="unknown option passes through"),
        pytest.param({"swap_options": None}, {}, id="None as options"),
    ],
)
def test_body_option_reaches_swap_options(arguments: dict[str, Any], options: dict[str, Any]) -> None:
    """Each option is in `swap_options` under its documented name; the legacy flag is never sent."""
    assert swap(**arguments).body(["f"])["swap_options"] == {"model": "auto", "num_variations": 1} | options


def test_body_extra_field_is_beside_the_options() -> None:
    """``extra`` is sent at the top level of the body."""
    assert swap(extra={"preset_code": "p"}).body(["f-1"])["preset_code"] == "p"
    assert swap(extra=None).body(["f-1"]) == swap().body(["f-1"])


def test_body_without_project_is_refused() -> None:
    """A body without a project raises ``ValueError``."""
    with pytest.raises(ValueError, match="project_id"):
        swap(project_id=None).body(["f-1"])


@pytest.mark.parametrize(
    ("arguments", "names"),
    [
        pytest.param({"identity_code": " "}, "identity_code", id="blank identity"),
        pytest.param({"identity_code": None}, "identity_code", id="no identity"),
        pytest.param({"project_id": 7}, "project_id", id="the project's number instead of its text id"),
        pytest.param({"project_id": ""}, "project_id", id="blank project"),
        pytest.param({"num_variations": 5}, "num_variations", id="five variations"),
        pytest.param({"num_variations": 0}, "num_variations", id="no variation"),
        pytest.param({"num_variations": True}, "num_variations", id="a truth value as number"),
        pytest.param({"num_variations": "2"}, "num_variations", id="a text as number"),
        pytest.param({"post_process": "no"}, "post_process", id="a text as truth value"),
        pytest.param({"add_ai_watermark": 1}, "add_ai_watermark", id="a number as truth value"),
        pytest.param({"use_alternative_method": "no"}, "use_alternative_method", id="legacy flag as text"),
        pytest.param({"use_anchor": "yes"}, "use_anchor", id="anchor as text"),
        pytest.param({"model": "banana"}, "onda", id="unknown engine, known ones named"),
        pytest.param({"model": "", "force_model": True}, "model", id="no engine"),
        pytest.param({"model": "onda", "use_alternative_method": True}, "onda", id="flag against engine"),
        pytest.param({"swap_options": {"model": "onda"}}, "model", id="option given twice"),
        pytest.param({"extra": {"images": []}}, "images", id="extra repeats an argument"),
    ],
)
def test_option_that_cannot_be_right_is_refused(arguments: dict[str, Any], names: str) -> None:
    """A wrong option is a ValueError that names it, before money is spent."""
    with pytest.raises(ValueError, match=names):
        swap(**arguments)


@pytest.mark.parametrize(
    ("images", "limits", "names"),
    [
        pytest.param([], (), "images", id="no image"),
        pytest.param("f-1", (), "images", id="a text instead of a list"),
        pytest.param(["f-1", None], (), "images", id="no file id"),
        pytest.param(["f-1", " "], (), "images", id="blank file id"),
        pytest.param(["f-1", "f-1"], (), "twice", id="the same image twice"),
        pytest.param([str(n) for n in range(11)], (), "a job takes 10", id="too many images"),
        pytest.param(["a", "b", "c"], (2,), "a job takes 2", id="account limit"),
    ],
)
def test_images_that_cannot_be_right_are_refused(images: Any, limits: tuple[int, ...], names: str) -> None:
    """Wrong images are a ValueError that names the reason, before money is spent."""
    with pytest.raises(ValueError, match=names):
        swap().check(images, *limits)


@pytest.mark.parametrize("limits", [(), (12,)], ids=["default", "account limit"])
def test_images_up_to_the_limit_are_taken(limits: tuple[int, ...]) -> None:
    """As many images as a job may have are accepted."""
    swap().check([str(n) for n in range(*(limits or (10,)))], *limits)


def test_outputs_counts_variations() -> None:
    """The number of outputs is the number of images times the variations."""
    assert swap(num_variations=3).outputs(2) == 6


@pytest.mark.parametrize(
    ("images", "limit", "jobs"),
    [
        pytest.param(7, 3, [3, 3, 1], id="rest"),
        pytest.param(6, 3, [3, 3], id="even"),
        pytest.param(2, 10, [2], id="one job"),
        pytest.param(0, 10, [], id="nothing"),
    ],
)
def test_split_fills_the_jobs_in_order(images: int, limit: int, jobs: list[int]) -> None:
    """A batch is split into full jobs and one job with the rest."""
    assert swap().split(images, limit) == jobs


def test_content_leaves_out_what_changes_no_picture() -> None:
    """The content does not depend on the project or on ``force_model``."""
    plain, forced = swap(), swap(project_id="prj-2", force_model=True)
    assert plain.content() == forced.content()


@pytest.mark.parametrize(
    "change",
    [
        {"identity_code": "id-2"},
        {"post_process": True},
        {"model": "onda"},
        {"num_variations": 2},
        {"add_ai_watermark": True},
        {"use_anchor": True},
        {"use_alternative_method": True},
        {"swap_options": {"seed": 7}},
        {"extra": {"preset_code": "p"}},
    ],
    ids=lambda change: next(iter(change)),
)
def test_content_differs_with_what_changes_the_picture(change: dict[str, Any]) -> None:
    """Each option that changes the output changes the content."""
    assert swap(**change).content() != swap().content()


def test_content_is_json() -> None:
    """The content contains every option that changes the output."""
    assert swap(extra={"a": 1}).content() == {
        "job_type": "model_swap",
        "identity_code": "id-1",
        "post_process": False,
        "model": "auto",
        "num_variations": 1,
        "add_ai_watermark": False,
        "use_anchor": None,
        "use_alternative_method": False,
        "swap_options": {},
        "extra": {"a": 1},
    }


def test_from_arguments_takes_rendered_numbers_and_leaves_other_arguments_out() -> None:
    """A rendered number is converted, and arguments that are not options are ignored."""
    arguments = {"identity_code": "id-1", "num_variations": " 3 ", "images": ["f"], "timeout": 60.0}
    assert ModelSwap.from_arguments(arguments) == ModelSwap(identity_code="id-1", num_variations=3)


@pytest.mark.parametrize("text", ["three", "", "-1", "1.5", "\u00b2", "9"])
def test_from_arguments_refuses_text_that_is_not_a_number_in_range(text: str) -> None:
    """An invalid number raises a ``ValueError`` that names the argument."""
    with pytest.raises(ValueError, match="num_variations"):
        ModelSwap.from_arguments({"identity_code": "id-1", "num_variations": text})


def test_from_arguments_leaves_text_arguments_as_they_are() -> None:
    """A string of digits stays a string if a string is expected."""
    assert ModelSwap.from_arguments({"identity_code": "7"}).identity_code == "7"


def listed(options: dict[str, Any] | None = None, **changes: Any) -> Job:
    """A job of two images as the account lists it, equal to `OURS` unless changed."""
    told = {"model": "onda", "num_variations": 3, "add_ai_watermark": False, "use_anchor": True}
    fields = {
        "job_id": "job-1",
        "job_type": "model_swap",
        "status": "processing",
        "identity_code": "id-1",
        "total_images": 2,
        "should_post_process": False,
        "processing_options": told | (options or {}),
    }
    return Job.model_validate(fields | changes)


OURS = swap(model="onda", num_variations=3, use_anchor=True)


@pytest.mark.parametrize(
    ("job", "verdict"),
    [
        pytest.param(listed(), True, id="equal"),
        pytest.param(listed(total_images=6), True, id="outputs counted instead of inputs"),
        pytest.param(listed({"add_ai_watermark": None}), True, id="watermark not listed"),
        pytest.param(listed({"use_anchor": None}), True, id="anchor not listed"),
        pytest.param(listed(should_post_process=None), True, id="post-processing not listed"),
        pytest.param(listed({"seed": 7}), True, id="further option listed"),
        pytest.param(listed(job_type="flat_2_model"), False, id="other type"),
        pytest.param(listed(identity_code="id-2"), False, id="other identity"),
        pytest.param(listed(total_images=3), False, id="other number of images"),
        pytest.param(listed({"model": "nano_banana_2"}), False, id="other engine"),
        pytest.param(listed({"num_variations": 2}), False, id="other variations"),
        pytest.param(listed({"add_ai_watermark": True}), False, id="other watermark"),
        pytest.param(listed({"use_anchor": False}), False, id="other anchor"),
        pytest.param(listed(should_post_process=True), False, id="other post-processing"),
        pytest.param(listed(job_type=None), None, id="type not listed"),
        pytest.param(listed(identity_code=None), None, id="identity not listed"),
        pytest.param(listed(total_images=None), None, id="number of images not listed"),
        pytest.param(listed({"model": None}), None, id="engine not listed"),
        pytest.param(listed({"num_variations": None}), None, id="variations not listed"),
        pytest.param(listed(processing_options=None), None, id="no options listed"),
        pytest.param(
            listed(processing_options=None, identity_code="id-2"), False, id="no options, other identity"
        ),
    ],
)
def test_matches_recognises_our_jobs(job: Job, verdict: bool | None) -> None:
    """One difference excludes a job; a match needs every decisive field."""
    assert OURS.matches(job, 2) is verdict


@pytest.mark.parametrize("anchor", [True, False, None])
def test_matches_any_anchor_if_none_was_sent(anchor: bool | None) -> None:
    """If ``use_anchor`` was not sent, every listed value matches."""
    ours = swap(model="onda", num_variations=3)
    assert ours.matches(listed({"use_anchor": anchor}), 2) is True


def test_identity_has_to_exist() -> None:
    """The swap returns the identity code that is checked before the submission."""
    assert swap().identity == "id-1"
