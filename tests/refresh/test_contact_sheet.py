# SPDX-License-Identifier: Apache-2.0
"""The contact sheet: a page and an image with source and output side by side."""

from __future__ import annotations

import base64
import io
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from airflow_provider_piktid.files import storage
from airflow_provider_piktid.refresh.contact_sheet import Pair, page_uri, write_sheet
from tests.support.service import picture


def pair(folder: Path, name: str = "a.jpg", **fields: Any) -> Pair:
    """Return a pair of two existing images."""
    before = storage.locate(str(picture(folder / "in" / name, size=(900, 600))))
    after = storage.locate(str(picture(folder / "out" / name, size=(600, 900), color="teal")))
    fixed: dict[str, Any] = {
        "title": name,
        "before": (before,),
        "after": after,
        "note": "onda",
        "failed": False,
    }
    return Pair(**(fixed | fields))


def written(folder: Path, *pairs: Pair, **options: int) -> tuple[str, Path]:
    """Write a contact sheet; return its page and the path of its image."""
    target = storage.locate(str(folder / "sheet.html"))
    write_sheet(target, pairs, "2 done", **options)
    return Path(target.path).read_text(), folder / "sheet.png"


class References(HTMLParser):
    """Collects the tags of a page and what it loads."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.loaded: list[str] = []
        self.links: list[str] = []
        self.tags: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.loaded += [
            value or "" for name, value in attrs if name == "src" or (name == "href" and tag != "a")
        ]
        self.links += [value or "" for name, value in attrs if name == "href" and tag == "a"]


def test_page_is_self_contained(tmp_path: Path) -> None:
    """The page contains its thumbnails and loads nothing."""
    page = References(written(tmp_path, pair(tmp_path))[0])

    assert len(page.loaded) == 2
    assert all(address.startswith("data:image/jpeg;base64,") for address in page.loaded)
    assert not {"script", "link", "iframe"} & set(page.tags)


def test_thumbnails_are_small(tmp_path: Path) -> None:
    """Thumbnails are at most 240 pixels wide and high."""
    page, _ = written(tmp_path, pair(tmp_path))

    assert 'width="240" height="160"' in page
    assert 'width="160" height="240"' in page


def test_images_of_a_group_share_a_thumbnail(tmp_path: Path) -> None:
    """The images of a group are shown together, in the place of one; one that cannot be read is left out."""
    files = [
        storage.locate(str(picture(tmp_path / f"{color}.jpg", size=(90, 90), color=color)))
        for color in ("red", "green", "blue")
    ]

    page, _ = written(tmp_path, pair(tmp_path, before=(*files, storage.locate("/none.jpg"))))

    first = References(page).loaded[0].partition(",")[2]
    image = Image.open(io.BytesIO(base64.b64decode(first)))
    corners: list[Any] = [image.getpixel(place) for place in ((20, 20), (140, 20), (20, 140), (140, 140))]
    assert image.size == (240, 240)
    assert [max(range(3), key=corner.__getitem__) for corner in corners[:3]] == [0, 1, 2]
    assert min(corners[3]) > 240


def test_failure_is_shown_with_its_reason(tmp_path: Path) -> None:
    """A pair without an output shows the reason instead."""
    page, _ = written(tmp_path, pair(tmp_path, after=None, note="no face", failed=True))

    assert '<figure class="failed">' in page
    assert '<p class="none">no face</p>' in page


@pytest.mark.parametrize("field", ["title", "note"])
def test_names_and_reasons_are_escaped(tmp_path: Path, field: str) -> None:
    """Names and reasons are escaped."""
    page, _ = written(tmp_path, pair(tmp_path, **{field: "<script>alert(1)</script>"}))

    assert "script" not in References(page).tags


def test_unreadable_image_is_replaced_by_a_note(tmp_path: Path) -> None:
    """An image that cannot be read is replaced by a note, and the others are shown."""
    good, cut = pair(tmp_path, "good.jpg"), pair(tmp_path, "cut.jpg")
    Path(cut.before[0].path).write_bytes(Path(cut.before[0].path).read_bytes()[:50])
    assert cut.after is not None
    Path(cut.after.path).unlink()

    page, _ = written(tmp_path, cut, good)

    assert (len(References(page).loaded), page.count("cannot be read")) == (2, 1)


def test_long_lists_have_several_pages(tmp_path: Path) -> None:
    """A page has at most ``page_pairs`` pairs, names its place, and links the pages beside it by file name."""
    pairs = [pair(tmp_path, title=f"number {number}") for number in range(5)]
    first, _ = written(tmp_path, *pairs, page_pairs=2)
    second, third = ((tmp_path / f"sheet-{number}.html").read_text() for number in (2, 3))

    assert [page.count("<figure") for page in (first, second, third)] == [2, 2, 1]
    assert [References(page).links for page in (first, second, third)] == [
        ["sheet-2.html"] * 2,
        ["sheet.html", "sheet-3.html"] * 2,
        ["sheet-2.html"] * 2,
    ]
    assert "3 to 4 of 5" in second


def test_pages_are_limited_in_bytes(tmp_path: Path) -> None:
    """A page ends before the pair that would make it larger than ``page_bytes``, and has at least one pair."""
    first, _ = written(tmp_path, *[pair(tmp_path)] * 3, page_bytes=1)

    assert first.count("<figure") == 1
    assert sorted(path.name for path in tmp_path.glob("*.html")) == [
        "sheet-2.html",
        "sheet-3.html",
        "sheet.html",
    ]


def test_last_page_says_what_is_not_shown(tmp_path: Path) -> None:
    """With more pairs than ``max_pages`` can show, the last page says how many are missing."""
    written(tmp_path, *[pair(tmp_path)] * 5, page_pairs=2, max_pages=2)

    assert "1 more are not shown" in (tmp_path / "sheet-2.html").read_text()
    assert not (tmp_path / "sheet-3.html").exists()


SHEET = "s3://aws@bucket/summer/_piktid/contact_sheet/0123456789abcdef.html"


@pytest.mark.parametrize(
    ("sheet", "name", "expected"),
    [
        (SHEET, "0123456789abcdef.html", SHEET),
        (SHEET, "0123456789abcdef-2.html", SHEET.replace("f.html", "f-2.html")),
        (
            "file:///o/_piktid/contact_sheet/0123456789abcdef.html",
            "0123456789abcdef.html",
            "file:///o/_piktid/contact_sheet/0123456789abcdef.html",
        ),
        (SHEET, "0123456789abcdef.png", None),
        (SHEET, "../../catalogue.html", None),
        (SHEET, "0000000000000000.html", None),
        (SHEET, "0123456789abcdef-2.html/..", None),
        ("file:///etc/passwd", "passwd", None),
        ("file:///a/../etc/_piktid/contact_sheet/0123456789abcdef.html", "0123456789abcdef.html", None),
        ("http://169.254.169.254/_piktid/contact_sheet/0123456789abcdef.html", "0123456789abcdef.html", None),
        ("simplecache::s3://b/_piktid/contact_sheet/0123456789abcdef.html", "0123456789abcdef.html", None),
        ("file:///o/_piktid/contact_sheet/0123456789abcdef.html\n", "0123456789abcdef.html", None),
    ],
    ids=[
        "first page",
        "second page",
        "local",
        "picture",
        "path",
        "another run",
        "more path",
        "no sheet",
        "dots",
        "web",
        "chained store",
        "line end",
    ],
)
def test_only_pages_of_a_sheet_are_named(sheet: str, name: str, expected: str | None) -> None:
    """Whatever was recorded as a sheet, and whatever page a visitor names, only a file of a sheet comes out."""
    assert page_uri(sheet, name) == expected


@pytest.mark.parametrize("count", [1, 4, 9])
def test_image_grows_with_the_pairs(tmp_path: Path, count: int) -> None:
    """The image has four pairs in a row, and its height grows with the rows."""
    _, drawn = written(tmp_path, *[pair(tmp_path, title="ümläut 名 " * 9)] * count)

    with Image.open(drawn) as image:
        colours = image.convert("RGB").getcolors(image.width * image.height) or []
        assert image.width == min(count, 4) * 510 + 10
        assert image.height == -(-count // 4) * 290 + 40
    assert {colour for _, colour in colours} > {(255, 255, 255), (0, 0, 0)}
