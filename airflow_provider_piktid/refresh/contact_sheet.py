# SPDX-License-Identifier: Apache-2.0
"""
The contact sheet of a refresh: sources and outputs side by side, for a visual check.

The page is one self-contained HTML file, with a PNG of the same content beside it.
"""

from __future__ import annotations

import base64
import html
import io
import textwrap
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

from airflow_provider_piktid.files import storage

if TYPE_CHECKING:
    from PIL.Image import Image

    from airflow_provider_piktid.files.storage import Location

#: Pixels of the longer side of a thumbnail.
THUMBNAIL_PX = 240

#: Pairs on the page and on the picture; the page states how many are not shown.
PAGE_PAIRS = 200
PICTURE_PAIRS = 40
PICTURE_COLUMNS = 4

#: Maximum length of a note, and of a name on the picture, in characters.
NOTE_LENGTH = 300
LABEL_LENGTH = 64

UNREADABLE = "cannot be read"

STYLE = """
:root { color-scheme: light dark; font: 15px/1.4 system-ui, sans-serif; }
body { margin: 2rem; }
main { display: grid; grid-template-columns: repeat(auto-fill, minmax(32rem, 1fr)); gap: 1.5rem;
  align-items: start; }
figure { margin: 0; padding: .75rem; border: 1px solid #8886; border-radius: .5rem; }
figure.failed { border-color: #c33; border-width: 2px; }
.pair { display: grid; grid-template-columns: 1fr 1fr; gap: .75rem; min-height: 8rem; align-items: center; }
.pair > * { display: block; margin: auto; max-width: 100%; }
.none { color: #c33; text-align: center; overflow-wrap: anywhere; }
figcaption { margin-top: .5rem; overflow-wrap: anywhere; }
figcaption small { opacity: .7; }
"""


@dataclass(frozen=True)
class Pair:
    """
    A source and its output.

    :param after: None if there is no output.
    :param note: The reason of a failure, or the engine.
    """

    title: str
    before: Location
    after: Location | None
    note: str
    failed: bool


def write_sheet(target: Location, pairs: Sequence[Pair], facts: str, *, page_pairs: int = PAGE_PAIRS) -> None:
    """
    Write a page, and a picture of the same name with ``.png``.

    :param target: The page, with the extension ``.html``.
    :param pairs: In order; failures should come first, as a long list is truncated.
    :param facts: One line about the run.
    :param page_pairs: Pairs on the page. Default: 200.
    :raises OSError: The store cannot be written.
    """
    shown = pairs[:page_pairs]
    places = [place for pair in shown for place in (pair.before, pair.after)]
    with ThreadPoolExecutor(8) as pool:
        pictures = list(pool.map(_thumbnail, places))
    both = list(zip(pictures[::2], pictures[1::2], strict=True))
    storage.write_bytes(target, _page(shown, both, facts, left_out=len(pairs) - len(shown)))
    beside = storage.Location(target.fs, target.path.removesuffix(".html") + ".png", target.prefix)
    storage.write_bytes(beside, _picture(shown[:PICTURE_PAIRS], both[:PICTURE_PAIRS], facts))


def _thumbnail(place: Location | None) -> Image | None:
    """Return a thumbnail, or None if the picture cannot be read; the sheet then shows a gap."""
    from PIL import Image, ImageOps

    if place is None:
        return None
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


def _page(
    pairs: Sequence[Pair], pictures: Sequence[tuple[Image | None, Image | None]], facts: str, *, left_out: int
) -> bytes:
    figures = "\n".join(_figure(pair, *both) for pair, both in zip(pairs, pictures, strict=True))
    more = f"<p>{left_out} more are not shown; the catalogue lists them.</p>" if left_out else ""
    text = (
        '<!doctype html>\n<html lang="en">\n<head><meta charset="utf-8"><title>Contact sheet</title>\n'
        f"<style>{STYLE}</style></head>\n<body>\n<h1>Before and after</h1>\n<p>{html.escape(facts)}</p>\n"
        f"<main>\n{figures}\n</main>\n{more}\n</body>\n</html>\n"
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
