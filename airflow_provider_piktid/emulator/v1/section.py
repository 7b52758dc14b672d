# SPDX-License-Identifier: Apache-2.0
"""The v1 section of the page: pictures with their persons, and generated pictures."""

from __future__ import annotations

from html import escape

from ..clock import iso
from ..state import State
from .entities import Generation, Person, Target
from .pictures import colour_of
from .targets import coordinates

MOST_TARGETS = 12
MOST_GENERATIONS = 24

STYLE = """
.target{position:relative;display:inline-block;line-height:0}
.target img,.made img{max-width:240px;max-height:200px;border-radius:6px}
.target i{position:absolute;border:2px solid #2a9d5c;border-radius:6px;box-sizing:border-box}
.target i.no{border-color:#c8453b;border-style:dashed}
.target i b{position:absolute;left:50%;bottom:100%;transform:translateX(-50%);font:700 11px/1 system-ui;
color:#fff;background:#2a9d5c;padding:2px 5px;border-radius:5px 5px 0 0}.target i.no b{background:#c8453b}
.v1{display:flex;gap:1.2rem;align-items:flex-start}
.made{flex:1;display:flex;gap:.8rem;flex-wrap:wrap}
.made span{width:180px;height:100px;display:grid;place-items:center;background:var(--soft);border-radius:6px;
font-size:.8em;text-align:center}
.dot{display:inline-block;width:.7em;height:.7em;border-radius:50%;margin-right:.3em}
"""


def _image(state: State, name: str, label: str) -> str:
    return f'<img src="/_emulator/thumb/{escape(name)}" alt="{escape(label)}" loading="lazy">'


def _box(target: Target, person: Person) -> str:
    box = coordinates(target, person)
    place = (
        f"left:{box['cornerX']:.2%};top:{box['cornerY']:.2%};"
        f"width:{box['boxWidth']:.2%};height:{box['boxHeight']:.2%}"
    )
    kind, title = ("", "usable") if person.approve else (' class="no"', "too small or too blurry")
    return f'<i{kind} style="{place}" title="person {person.id}: {title}"><b>{person.id}</b></i>'


def _generation(state: State, generation: Generation) -> str:
    word = generation.request.word
    colour = "#{:02x}{:02x}{:02x}".format(*colour_of(word))
    if generation.blob is None:
        picture = f"<span>{escape(generation.error_message or generation.status)}</span>"
    else:
        name = state.blob_name(generation.id_task, generation.blob)
        picture = _image(state, name, f"person {generation.person.id}, {word}")
    masks = " · made masks" if generation.made_masks else ""
    return (
        f'<figure>{picture}<figcaption><i class="dot" style="background:{colour}"></i>'
        f"{escape(word[:60])} · person {generation.person.id}{masks} · {generation.credits:g} credits"
        f"</figcaption></figure>"
    )


def _target(state: State, target: Target, made: list[Generation]) -> str:
    boxes = "".join(_box(target, person) for person in target.persons)
    picture = _image(state, state.blob_name(f"target-{target.id_image}", target.blob), target.filename)
    results = "".join(_generation(state, generation) for generation in made[-MOST_GENERATIONS:])
    done = sum(1 for generation in made if generation.ended)
    return (
        f'<section class="job"><div class="row"><b>{escape(target.filename[:60])}</b>'
        f'<code>{target.id_image}</code><span class="grow"></span><small>{iso(target.created_at)} · '
        f"{len(target.persons)} persons · {done} of {len(made)} generations ended</small></div><br>"
        f'<div class="v1"><figure><div class="target">{picture}{boxes}</div><figcaption>uploaded</figcaption>'
        f'</figure><div class="made">{results}</div></div></section>'
    )


def render(state: State) -> str:
    """Return the section as HTML; empty before the first upload."""
    targets = state.v1.targets()[::-1][:MOST_TARGETS]
    if not targets:
        return ""
    made: dict[str, list[Generation]] = {}
    for generation in state.v1.generations():
        made.setdefault(generation.target.id_image, []).append(generation)
    return "<h2>Person generation (v1)</h2>" + "".join(
        _target(state, target, made.get(target.id_image, [])) for target in targets
    )
