# SPDX-License-Identifier: Apache-2.0
"""Generated pictures: the change and the keyword are visible."""

from __future__ import annotations

import io
from collections.abc import Callable
from itertools import combinations
from typing import Any

import pytest
from PIL import Image, ImageChops

from airflow_provider_piktid.emulator.v1.pictures import LOCATIONS, colour_of


@pytest.fixture
def real(serve_v1: Callable[..., Any]) -> Any:
    """An emulator with image processing."""
    return serve_v1(transform=True)


@pytest.fixture
def before(team: bytes) -> Image.Image:
    """The decoded picture of three persons."""
    return Image.open(io.BytesIO(team)).convert("RGB")


def boxes(v1: Any, image: str) -> list[tuple[int, int, int, int]]:
    faces = [person.face for person in v1.state.v1.target(image).persons]
    return [(f.left, f.top, f.right, f.bottom) for f in faces]


def same(one: Image.Image, other: Image.Image, box: tuple[int, int, int, int]) -> bool:
    return ImageChops.difference(one.crop(box), other.crop(box)).getbbox() is None


def test_only_the_chosen_person_is_changed(real: Any, team: bytes, before: Image.Image) -> None:
    """The selected face differs; the other faces are identical to the pixel."""
    image = real.upload(team)
    after = real.picture(real.run(image, 1))
    assert after.size == before.size
    assert [same(before, after, box) for box in boxes(real, image)] == [True, False, True]


def test_people_close_together_are_not_changed(
    serve_v1: Callable[..., Any], team: bytes, before: Image.Image
) -> None:
    """Outline and label of one person do not cover other faces."""
    v1 = serve_v1(transform=True, faces=9)
    image = v1.upload(team)
    after = v1.picture(v1.run(image, 4))
    assert [same(before, after, box) for box in boxes(v1, image)] == [number != 4 for number in range(9)]


def test_keywords_persons_and_seeds_give_different_pictures(real: Any, team: bytes) -> None:
    """Different requests return different pictures; the same request returns the same picture."""
    image = real.upload(team)
    requests = [(0, "Africa", None), (0, "Oceania", None), (1, "Africa", None), (0, "Africa", '{"seed": 5}')]
    made = [real.picture(real.run(image, p, word, options=options)) for p, word, options in requests]
    assert all(ImageChops.difference(one, other).getbbox() for one, other in combinations(made, 2))
    again = real.picture(real.run(image, 0, "Africa"))
    assert ImageChops.difference(made[0], again).getbbox() is None


def test_face_takes_the_colour_of_the_keyword(real: Any, team: bytes) -> None:
    """The face in each of two pictures is closer to the colour of its own keyword."""
    image = real.upload(team)
    box = boxes(real, image)[0]

    def distance(picture: Image.Image, word: str) -> int:
        mean: Any = picture.crop(box).resize((1, 1), Image.Resampling.BOX).getpixel((0, 0))
        return sum((a - b) ** 2 for a, b in zip(mean, colour_of(word), strict=True))

    made = {word: real.picture(real.run(image, 0, word)) for word in ("Africa", "North Europe")}
    for word in made:
        assert min(made, key=lambda other: distance(made[other], word)) == word


def test_colours_of_places_are_far_apart() -> None:
    """The colours of any two locations differ visibly."""
    for one, other in combinations(LOCATIONS, 2):
        assert sum(abs(a - b) for a, b in zip(colour_of(one), colour_of(other), strict=True)) > 60


def test_watermark_can_be_left_out(real: Any, team: bytes) -> None:
    """``flag_watermark: 0`` omits the watermark and changes nothing else."""
    image = real.upload(team)
    marked, clean = (
        real.picture(real.run(image, 0, options=options)) for options in (None, '{"flag_watermark": 0}')
    )
    box = ImageChops.difference(marked, clean).getbbox()
    assert box is not None
    assert box[0] > marked.width * 0.8
    assert box[1] > marked.height * 0.7


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_format_is_kept(real: Any, photo: bytes, kind: str) -> None:
    """The generated picture has the format of the uploaded one."""
    out = io.BytesIO()
    Image.open(io.BytesIO(photo)).convert("RGB").save(out, kind)
    link = real.run(real.upload(out.getvalue()))["data"]["links"][0]["l"]
    answer = real.api.fetch(link)
    assert Image.open(io.BytesIO(answer.content)).format == kind
    assert answer.headers["Content-Type"] == f"image/{kind.lower()}"


def test_blurred_person_fails(real: Any, team: bytes) -> None:
    """A generation of a person that is not approved fails."""
    assert real.run(real.upload(team), 2)["data"]["msg"] == "The face is too blurry"


def test_failing_image_processing_fails_the_generation(real: Any, team: bytes) -> None:
    """A generation fails if its picture is missing on disk."""
    image = real.upload(team)
    real.state.v1.target(image).blob.path.unlink()
    assert real.run(image)["name"] == "error"
    assert real.state.generations()[0]["status"] == "failed"


def test_page_shows_persons_and_generated_pictures(real: Any, team: bytes) -> None:
    """The page shows the picture with its faces, and the generated pictures."""
    image = real.upload(team)
    real.run(image, 0, "Oceania")
    real.server.faults.add("generation", "fail", message="no <mask>")
    real.run(image, 1, "Africa")
    page = real.api.fetch(real.api.url + "/").text
    assert all(text in page for text in (image, "3 persons", "2 of 2 generations", "no &lt;mask&gt;"))
    assert page.count('title="person') == 3
    assert page.count("too small or too blurry") == 1
    task = real.state.generations()[0]["id_task"]
    for name in (f"target-{image}.png", f"{task}.png"):
        assert f"/_emulator/thumb/{name}" in page
        assert real.api.fetch(f"{real.api.url}/_emulator/thumb/{name}").content.startswith(b"\xff\xd8")


def test_page_without_pictures_has_no_section(v1: Any) -> None:
    """Without v1 pictures the page has no v1 section."""
    assert "Person generation" not in v1.api.fetch(v1.api.url + "/").text
