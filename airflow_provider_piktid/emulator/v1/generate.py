# SPDX-License-Identifier: Apache-2.0
"""Check, charge and start v1 generations."""

from __future__ import annotations

from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from ..state import State
from ..wire import json_in, read_json
from .entities import Generation, GenerationRequest
from .pictures import LOCATIONS
from .refusals import invalid, refusal
from .targets import find_target

GROUP = "Location"
CATEGORIES = ("person",)
_RANGES = {
    "strength": (0.0, 1.0),
    "var_strength": (0.0, 1.0),
    "guidance_scale": (1.0, 20.0),
    "controlnet_scale": (0.0, 2.0),
}


async def generate(request: Request, state: State) -> Response:
    """``POST /api/edit/generate``."""
    body = await read_json(request)
    if not isinstance(body, dict):
        raise invalid(state, "A JSON object is required")
    with state.lock:
        asked = read_request(state, body)
        target = find_target(state, body.get("id_image"))
        person = target.person(asked.id_person)
        if person is None:
            raise refusal(404, "Person not found")
        if not person.approve and state.variants["v1_unusable"] == "refuse":
            raise refusal(400, "The face is too blurry")
        price = state.settings.credits_per_generation
        _charge(state, price)
        generation = state.v1.add_generation(target, person, asked, price, state.base_url(request))
    state.v1.runner.start(generation)
    return JSONResponse(_answer(state, generation))


def _answer(state: State, generation: Generation) -> dict[str, str]:
    if state.variants["v1_generate_reply"] == "empty":
        return {}
    return {"status": "ok", "id_task": generation.id_task, "id_image": generation.target.id_image}


def _charge(state: State, price: float) -> None:
    if not state.credits.take(price):
        raise refusal(402, f"Insufficient credits: {price:g} required")


def read_request(state: State, body: dict[str, Any]) -> GenerationRequest:
    """
    Check a request.

    :raises Refused: With the validation status; a field is missing or wrong.
    """
    if not isinstance(body.get("id_image"), str):
        raise invalid(state, "id_image is required and must be a string")
    category = body.get("category")
    if category is None and state.variants["v1_category"] == "required":
        raise invalid(state, "category is required")
    if category is not None and category not in CATEGORIES:
        raise invalid(state, f"category must be one of {', '.join(CATEGORIES)}")
    id_person = _person(state, body.get("id_person"))
    options = _options(state, body.get("options"))
    sent, prompt = body.get("keyword"), body.get("prompt")
    if sent is None and isinstance(prompt, str) and prompt:
        return GenerationRequest(id_person, None, None, prompt, options)
    keyword = _keyword(state, sent)
    return GenerationRequest(id_person, sent, keyword, None, options)


def _person(state: State, value: Any) -> int:
    if isinstance(value, str) and value.isascii() and value.isdecimal():
        return int(value)
    if isinstance(value, bool) or not isinstance(value, int):
        raise invalid(state, "id_person is required and must be an integer")
    return value


def _keyword(state: State, sent: Any) -> dict[str, str]:
    decoded = json_in(sent)
    if not isinstance(decoded, dict) or len(decoded) != 1:
        raise invalid(state, "keyword must be a string with a JSON object of one pair")
    ((group, word),) = decoded.items()
    strict = state.variants["v1_keyword_key"] == "strict"
    if group != GROUP and (strict or group.lower() != GROUP.lower()):
        raise invalid(state, f"Unknown keyword {group}")
    known = LOCATIONS if state.variants["v1_locations"] == "9" else set(LOCATIONS) - {"Central Africa"}
    if word not in known:
        raise invalid(state, f"{group} must be one of {', '.join(sorted(known))}")
    return {group: word}


def _options(state: State, sent: Any) -> dict[str, Any]:
    if sent is None:
        return {}
    options = json_in(sent)
    if not isinstance(options, dict):
        raise invalid(state, "options must be a string with a JSON object")
    seed = options.get("seed", 0)
    if isinstance(seed, bool) or not isinstance(seed, int):
        raise invalid(state, "seed must be an integer")
    for name, (low, high) in _RANGES.items():
        value = options.get(name, low)
        if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
            raise invalid(state, f"{name} must be between {low:g} and {high:g}")
    return options
