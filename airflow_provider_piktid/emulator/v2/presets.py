# SPDX-License-Identifier: Apache-2.0
"""Extract the settings of a style from an uploaded picture."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from ..drawing import Colour
from ..faces import UnreadablePicture, open_picture
from ..state import State
from ..wire import read_json
from .checks import body_check, finish

TYPES = ("flat_2_model", "model_swap", "create_packshot", "identity_creation")


async def extract_from_image(request: Request, state: State) -> Response:
    """``POST /preset/extract-from-image``."""
    check = body_check(state, await read_json(request))
    file_id = check.text("file_id", required=True) or ""
    kind = check.choice("type", TYPES, "flat_2_model")
    file = state.v2.files.get(file_id)
    colour: Colour = (0, 0, 0)
    if file is None or file.blob is None:
        check.wrong("file_id", "Unknown file_id" if file is None else "The file was not uploaded")
    else:
        try:
            colour = await run_in_threadpool(_main_colour, file.blob.path)
        except UnreadablePicture as error:
            check.wrong("file_id", str(error))
    finish(state, check)
    price = state.settings.credits_per_preset
    data = _instruction(kind, "#{:02x}{:02x}{:02x}".format(*colour))
    with state.lock:
        state.v2.jobs.charge(price)
        entry = {"file_id": file_id, "type": kind, "credits": price, "instruction_data": data}
        state.v2.presets.append({**entry, "created_at": state.clock.time()})
    name = f"Emulated {kind.replace('_', ' ')}"
    body = {"instruction_data": data, "suggested_name": name, "suggested_description": "From the main colour"}
    return JSONResponse({**body, "file_id": file_id})


def _main_colour(path: Path) -> Colour:
    image, _ = open_picture(path)
    red, green, blue = image.resize((1, 1)).getpixel((0, 0))  # type: ignore[misc]
    return red, green, blue


def _instruction(kind: str, colour: str) -> dict[str, Any]:
    """Return what a preset of this type holds; the groups beside the documented ones are of the live service too."""
    if kind == "identity_creation":
        return {
            "appearance": {"gender": "female", "age": 30, "skin": "light"},
            "hair": {"color": colour, "length": "long"},
            "camera": {"framing": "head and shoulders"},
        }
    if kind == "create_packshot":
        return {"style": "free", "background": colour, "lighting": "soft"}
    if kind == "flat_2_model":
        return {"prompt": f"in the light of {colour}", "pose": "standing", "background": colour}
    return {"prompt": f"in the light of {colour}"}
