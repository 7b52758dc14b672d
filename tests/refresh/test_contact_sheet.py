# SPDX-License-Identifier: Apache-2.0
"""The contact sheet: a page and an image with source and output side by side."""

from __future__ import annotations

from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from airflow_provider_piktid.files import storage
from airflow_provider_piktid.refresh.contact_sheet import Pair, write_sheet
from tests.support.service import picture


def pair(folder: Path, name: str = "a.jpg", **fields: Any) -> Pair:
    """Return a pair of two existing images."""
    before = storage.locate(str(picture(folder / "in" / name, size=(900, 600))))
    after = storage.locate(str(picture(folder / "out" / name, size=(600, 900), color="teal")))
    fixed: dict[str, Any] = {"title": name, "before": before, "after": after, "note": "onda", "failed": False}
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
        self.tags: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.loaded += [value or "" for name, value in attrs if name in ("src", "href")]


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
    Path(cut.before.path).write_bytes(Path(cut.before.path).read_bytes()[:50])
    assert cut.after is not None
    Path(cut.after.path).unlink()

    page, _ = written(tmp_path, cut, good)

    assert (len(References(page).loaded), page.count("cannot be read")) == (2, 1)


def test_page_is_limited_in_length(tmp_path: Path) -> None:
    """The page shows at most ``page_pairs`` pairs and says how many are not shown."""
    page, _ = written(tmp_path, *[pair(tmp_path)] * 5, page_pairs=2)

    assert page.count("<figure") == 2
    assert "3 more are not shown" in page


@pytest.mark.parametrize("count", [1, 4, 9])
def test_image_grows_with_the_pairs(tmp_path: Path, count: int) -> None:
    """The image has four pairs in a row, and its height grows with the rows."""
    _, drawn = written(tmp_path, *[pair(tmp_path, title="ümläut 名 " * 9)] * count)

    with Image.open(drawn) as image:
        colours = image.convert("RGB").getcolors(image.width * image.height) or []
        assert image.width == min(count, 4) * 510 + 10
        assert image.height == -(-count // 4) * 290 + 40
    assert {colour for _, colour in colours} > {(255, 255, 255), (0, 0, 0)}
