# SPDX-License-Identifier: Apache-2.0
"""
The contact sheet of a refresh: sources and outputs side by side, for a visual check.

Each page is one self-contained HTML file; a PNG of the first pairs lies beside the first page.
"""

from __future__ import annotations

import base64
import html
import io
import math
import posixpath
import re
import textwrap
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

from airflow_provider_piktid.files import storage

if TYPE_CHECKING:
    from PIL.Image import Image

    from airflow_provider_piktid.files.storage import Location

#: Pixels of the longer side of a thumbnail.
THUMBNAIL_PX = 240

#: Pairs and bytes of one page; the last page states how many pairs are not shown.
PAGE_PAIRS = 200
PAGE_BYTES = 4_500_000
MAX_PAGES = 10

#: Pairs on the picture.
PICTURE_PAIRS = 16
PICTURE_COLUMNS = 4

#: Pairs that are read at a time.
CHUNK = 40

#: Maximum length of a note, and of a name on the picture, in characters.
NOTE_LENGTH = 300
LABEL_LENGTH = 64

UNREADABLE = "cannot be read"

STYLE = """
:root { color-scheme: light dark; font: 15px/1.4 system-ui, sans-serif; }
body { margin: 2rem; }
main { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(32rem, 100%), 1fr)); gap: 1.5rem;
  align-items: start; }
nav { margin: 1rem 0; }
nav a { margin-left: 1rem; }
figure { margin: 0; padding: .75rem; border: 1px solid #8886; border-radius: .5rem; }
figure.failed { border-color: #c33; border-width: 2px; }
.pair { display: grid; grid-template-columns: 1fr 1fr; gap: .75rem; min-height: 8rem; align-items: center; }
.pair > * { display: block; margin: auto; max-width: 100%; height: auto; }
.none { color: #c33; text-align: center; overflow-wrap: anywhere; }
figcaption { margin-top: .5rem; overflow-wrap: anywhere; }
figcaption small { opacity: .7; }
"""


@dataclass(frozen=True)
class Pair:
    """
    A source and its output.

    :param before: The files of the source, mostly one.
    :param after: None if there is no output.
    :param note: The reason of a failure, or the engine.
    """

    title: str
    before: tuple[Location, ...]
    after: Location | None
    note: str
    failed: bool


#: The path of a sheet, which ends with the digest of its run, and the stores from which Airflow's page serves it: never
#: an address on the web, which would make the API server send a request there.
_SHEET = re.compile(
    rf"(?P<protocol>\w+)://[^?#:]*/{storage.PRIVATE_FOLDER}/contact_sheet/(?P<stem>[0-9a-f]{{16}})\.html"
)


def page_uri(sheet: str, name: str) -> str | None:
    """
    Return the URI of a page of a sheet; None if it is no page of it, or the sheet has no path of a sheet.

    :param sheet: URI of the first page.
    :param name: Name of the page's file.
    """
    found = _SHEET.fullmatch(sheet)
    if not found or ".." in sheet.split("/") or not storage.is_file_or_object(found["protocol"]):
        return None
    if not re.fullmatch(rf"{found['stem']}(-[1-9][0-9]?)?\.html", name):
        return None
    return posixpath.join(posixpath.dirname(sheet), name)


def _page_name(target: Location, number: int) -> str:
    name = posixpath.basename(target.path)
    return name if number == 1 else f"{name.removesuffix('.html')}-{number}.html"


def write_sheet(
    target: Location,
    pairs: Sequence[Pair],
    facts: str,
    *,
    page_pairs: int = PAGE_PAIRS,
    page_bytes: int = PAGE_BYTES,
    max_pages: int = MAX_PAGES,
) -> None:
    """
    Write the pages, and a picture of the same name with ``.png``.

    :param target: The first page, with the extension ``.html``; the others are ``-2.html`` and so on.
    :param pairs: In order; failures should come first, as a very long list is truncated.
    :param facts: One line about the run.
    :param page_pairs: Maximum number of pairs on a page. Default: 200.
    :param page_bytes: Bytes of a page, which ends with the pair that exceeds them. Default: 4.5 million.
    :param max_pages: Maximum number of pages. Default: 10.
    :raises OSError: The store cannot be written.
    """
    drawn: list[tuple[Image | None, Image | None]] = []
    figures: list[str] = []
    shown = number = 0

    def write_page(*, is_last: bool) -> None:
        nonlocal number
        number += 1
        names = [
            _page_name(target, number - 1) if number > 1 else "",
            "" if is_last else _page_name(target, number + 1),
        ]
        count = f"{shown - len(figures) + 1} to {shown} of {len(pairs)}" if number > 1 or not is_last else ""
        page = _page(figures, facts, count, names, left_out=len(pairs) - shown if is_last else 0)
        place = f"{posixpath.dirname(target.path)}/{_page_name(target, number)}"
        storage.write_bytes(storage.Location(target.fs, place, target.prefix), page)
        figures.clear()

    for both, figure in _figures(pairs):
        if figures and (len(figures) >= page_pairs or sum(map(len, figures)) + len(figure) > page_bytes):
            if number + 1 == max_pages:
                break
            write_page(is_last=False)
        figures.append(figure)
        shown += 1
        if len(drawn) < PICTURE_PAIRS:
            drawn.append(both)
    write_page(is_last=True)
    beside = storage.Location(target.fs, target.path.removesuffix(".html") + ".png", target.prefix)
    storage.write_bytes(beside, _picture(pairs[: len(drawn)], drawn, facts))


def _figures(pairs: Sequence[Pair]) -> Iterator[tuple[tuple[Image | None, Image | None], str]]:
    """Yield the thumbnails and the HTML of each pair; only some pairs are in memory at a time."""
    with ThreadPoolExecutor(8) as pool:
        for start in range(0, len(pairs), CHUNK):
            chunk = pairs[start : start + CHUNK]
            places = [part for pair in chunk for part in (pair.before, (pair.after,) if pair.after else ())]
            pictures = list(pool.map(_mosaic, places))
            for pair, both in zip(chunk, zip(pictures[::2], pictures[1::2], strict=True), strict=True):
                yield both, _figure(pair, *both)


def _mosaic(places: Sequence[Location]) -> Image | None:
    """Return thumbnails in as many columns as rows, in the size of one; None if none of them can be read."""
    from PIL import Image

    found = [image for image in map(_thumbnail, places) if image]
    if len(found) < 2:
        return next(iter(found), None)
    columns = math.ceil(math.sqrt(len(found)))
    step = THUMBNAIL_PX // columns
    sheet = Image.new("RGB", (THUMBNAIL_PX, step * -(-len(found) // columns)), "white")
    for number, image in enumerate(found):
        image.thumbnail((step - 2, step - 2))
        sheet.paste(image, (number % columns * step, number // columns * step))
    return sheet


def _thumbnail(place: Location) -> Image | None:
    """Return a thumbnail, or None if the picture cannot be read; the sheet then shows a gap."""
    from PIL import Image, ImageOps

    try:
        with (
            place.fs.open(place.path, "rb", block_size=storage.BLOCK_BYTES) as file,
            Image.open(file) as image,
        ):
            image.draft("RGB", (2 * THUMBNAIL_PX, 2 * THUMBNAIL_PX))
            small = ImageOps.exif_transpose(image).convert("RGB")
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return None
    small.thumbnail((THUMBNAIL_PX, THUMBNAIL_PX))
    return small


def _page(figures: Sequence[str], facts: str, count: str, names: Sequence[str], *, left_out: int) -> bytes:
    """Return a page; ``names`` are those of the previous and the next page, empty if there is none."""
    links = [
        f'<a href="{html.escape(name)}">{text}</a>'
        for name, text in zip(names, ("Previous page", "Next page"), strict=True)
        if name
    ]
    navigation = f"<nav>{' '.join([html.escape(count), *links])}</nav>" if count else ""
    more = f"<p>{left_out} more are not shown; the catalogue lists them.</p>" if left_out else ""
    content = "\n".join(figures)
    text = (
        '<!doctype html>\n<html lang="en">\n<head><meta charset="utf-8"><title>Contact sheet</title>\n'
        '<meta name="viewport" content="width=device-width">\n'
        f"<style>{STYLE}</style></head>\n<body>\n<h1>Before and after</h1>\n<p>{html.escape(facts)}</p>\n"
        f"{navigation}\n<main>\n{content}\n</main>\n{navigation}{more}\n</body>\n</html>\n"
    )
    return text.encode(errors="replace")


def _figure(pair: Pair, before: Image | None, after: Image | None) -> str:
    note = html.escape(pair.note[:NOTE_LENGTH])
    right = _image(after) if after else f'<p class="none">{note or UNREADABLE}</p>'
    left = _image(before) if before else f'<p class="none">{UNREADABLE}</p>'
    small = f"<br><small>{note}</small>" if after else ""
    failed = ' class="failed"' if pair.failed else ""
    return (
        f'<figure{failed}><div class="pair">{left}{right}</div>'
        f"<figcaption>{html.escape(pair.title)}{small}</figcaption></figure>"
    )


def _image(image: Image) -> str:
    content = io.BytesIO()
    image.save(content, "JPEG", quality=75)
    data = base64.b64encode(content.getvalue()).decode()
    return f'<img src="data:image/jpeg;base64,{data}" width="{image.width}" height="{image.height}" alt="">'


def _picture(
    pairs: Sequence[Pair], pictures: Sequence[tuple[Image | None, Image | None]], facts: str
) -> bytes:
    from PIL import Image, ImageDraw

    step = (2 * THUMBNAIL_PX + 30, THUMBNAIL_PX + 50)
    columns = max(1, min(PICTURE_COLUMNS, len(pairs)))
    rows = -(-len(pairs) // columns)
    sheet = Image.new("RGB", (columns * step[0] + 10, rows * step[1] + 40), "white")
    draw = ImageDraw.Draw(sheet)
    draw.text((10, 12), _drawable(facts), fill="black")
    for number, (pair, both) in enumerate(zip(pairs, pictures, strict=True)):
        left, top = number % columns * step[0] + 10, number // columns * step[1] + 40
        for side, image in enumerate(both):
            place = (left + side * (THUMBNAIL_PX + 10), top)
            if image:
                sheet.paste(image, place)
            else:
                draw.rectangle((*place, place[0] + THUMBNAIL_PX, top + THUMBNAIL_PX), outline="red", width=2)
                note = pair.note if side and pair.note else UNREADABLE
                draw.text((place[0] + 8, top + 8), _wrapped(note), fill="red")
        colour = "red" if pair.failed else "black"
        draw.text((left, top + THUMBNAIL_PX + 6), _drawable(pair.title[-LABEL_LENGTH:]), fill=colour)
    content = io.BytesIO()
    sheet.save(content, "PNG")
    return content.getvalue()


def _wrapped(text: str) -> str:
    """Wrap a text to the width of a thumbnail."""
    return _drawable("\n".join(textwrap.wrap(text[:NOTE_LENGTH], width=36)))


def _drawable(text: str) -> str:
    """Replace characters that Pillow's default font cannot draw."""
    return text.encode("latin-1", "replace").decode("latin-1")
