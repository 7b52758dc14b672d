# SPDX-License-Identifier: Apache-2.0
"""The page at ``/``: jobs, pictures, identities and projects."""

from __future__ import annotations

import json
from html import escape

from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route

from .blobs import Blob
from .clock import iso
from .core import Core
from .limits import LIMITS
from .state import State
from .v1 import section as v1
from .v2.entities import Identity
from .v2.job import Job, Output
from .v2.shapes import identity_link, progress_of

MOST_JOBS = 30
MOST_PAIRS = 12
REFRESH_SECONDS = 3

_STYLE = """
:root{color-scheme:light dark;--line:#8883;--soft:#8881;--blue:#3b6fd4}
body{font:15px/1.45 system-ui,sans-serif;max-width:1240px;margin:0 auto;padding:1.2rem}
h1{font-size:1.5rem;margin:0}h2{font-size:1.1rem;margin:1.6rem 0 .5rem}
header{display:flex;justify-content:space-between;align-items:baseline;flex-wrap:wrap;gap:.5rem}
.numbers{display:flex;gap:.6rem;flex-wrap:wrap;margin:.8rem 0}
.numbers div{background:var(--soft);border-radius:8px;padding:.4rem .8rem}
.numbers b{display:block;font-size:1.2rem}
table{border-collapse:collapse;width:100%}td,th{text-align:left;padding:.25rem .6rem .25rem 0;
border-bottom:1px solid var(--line)}
.job{border:1px solid var(--line);border-radius:10px;padding:.7rem .9rem;margin:.7rem 0}
.row{display:flex;gap:.8rem;align-items:center;flex-wrap:wrap}
code{font-size:.85em;word-break:break-all}.grow{flex:1}
.bar{height:6px;background:var(--line);border-radius:3px;margin:.5rem 0;overflow:hidden}
.bar i{display:block;height:100%;background:var(--blue)}
.status{border-radius:99px;padding:.05rem .6rem;background:var(--line);font-size:.85em}
.completed{background:#2a9d5c;color:#fff}.failed,.aborted{background:#c8453b;color:#fff}
.processing{background:var(--blue);color:#fff}
.pairs{display:flex;gap:.8rem;flex-wrap:wrap}figure{margin:0}figcaption{font-size:.8em;opacity:.75;max-width:260px}
.pair{display:flex;gap:4px}.pair img,.pair span{width:128px;height:128px;object-fit:cover;border-radius:6px;
background:var(--soft);display:grid;place-items:center;font-size:.75em;text-align:center}
.people{display:flex;gap:.9rem;flex-wrap:wrap}
.people img{width:72px;height:72px;object-fit:cover;border-radius:50%}
.people figure{text-align:center}footer{margin-top:2rem;font-size:.85em;opacity:.8}
"""


def _thumb(name: str, blob: Blob | None, label: str) -> str:
    if blob is None:
        return f"<span>{escape(label)}</span>"
    address = f"/_emulator/thumb/{Core.blob_name(name, blob)}"
    return f'<img src="{escape(address)}" alt="{escape(label)}" title="{escape(label)}" loading="lazy">'


def _pair(output: Output) -> str:
    before = "".join(_thumb(file.file_id, file.blob, "before") for file in output.inputs)
    after = _thumb(output.uuid, output.blob, "after" if output.blob else output.status)
    note = f"{output.filename[:60]} · variation {output.group_index} · v{output.version}"
    if not output.inputs:
        note += f" · draft {output.id}"
    if output.error_message:
        note += f" · {output.error_message}"
    return f'<figure><div class="pair">{before}{after}</div><figcaption>{escape(note)}</figcaption></figure>'


def _job(job: Job) -> str:
    outputs = job.newest()
    progress, status = progress_of(job), escape(job.status)
    pairs = "".join(_pair(output) for output in outputs[:MOST_PAIRS])
    identity = job.identity.name if job.identity else ""
    project = job.project.name if job.project else ""
    post = f" · post-processing {job.post_processing_status}" if job.post_processing_status else ""
    more = f"<p>and {len(outputs) - MOST_PAIRS} more</p>" if len(outputs) > MOST_PAIRS else ""
    error = f"<p>{escape(job.error_message)}</p>" if job.error_message else ""
    return (
        f'<section class="job" id="{escape(job.job_id)}"><div class="row">'
        f'<span class="status {status}">{status}</span>'
        f"<code>{escape(job.job_id)}</code><span>{escape(' · '.join((job.job_type, identity, project)))}"
        f'{escape(post)}</span><span class="grow"></span><small>{iso(job.created_at)} · '
        f"{progress:.0f} % · {job.credits:g} credits</small></div>"
        f'<div class="bar"><i style="width:{progress:.0f}%"></i></div>{error}'
        f'<div class="pairs">{pairs}</div>{more}</section>'
    )


def _person(state: State, identity: Identity) -> str:
    identity_link(state, identity, "")
    picture = _thumb(f"identity-{identity.code}", identity.blob, identity.name)
    return (
        f"<figure>{picture}<figcaption>{escape(identity.name)}<br><code>{escape(identity.code)}</code><br>"
        f"{escape(identity.preprocessing_status)}</figcaption></figure>"
    )


def _presets(state: State) -> str:
    rows = "".join(
        f"<tr><td>{escape(preset['type'])}</td><td><code>{escape(preset['file_id'])}</code></td>"
        f"<td><code>{escape(json.dumps(preset['instruction_data']))}</code></td></tr>"
        for preset in state.presets()[::-1][:20]
    )
    head = "<tr><th>Type</th><th>Picture</th><th>Instruction</th></tr>"
    return f"<h2>Presets</h2><table>{head}{rows}</table>" if rows else ""


def _numbers(state: State) -> str:
    stats = state.stats()
    numbers = {
        "credits left": f"{state.credits.balance:g}",
        "jobs": stats["jobs_created"],
        "active": stats["active_jobs"],
        "generations": stats["v1"]["generations"],
        "refused (429)": stats["refused_429"],
        "streams": stats["streams"],
        "MB in": f"{stats['bytes_in'] / 1e6:.1f}",
        "MB out": f"{stats['bytes_out'] / 1e6:.1f}",
        "faults planned": len(state.faults.pending()),
    }
    return "".join(f"<div><b>{value}</b>{name}</div>" for name, value in numbers.items())


def _projects(state: State) -> str:
    rows = "".join(
        f"<tr><td>{escape(p.name)}</td><td><code>{escape(p.key)}</code></td><td>{iso(p.created_at)}</td></tr>"
        for p in list(state.v2.projects.values())[::-1][:20]
    )
    return (
        f"<table><tr><th>Name</th><th>Id</th><th>Created</th></tr>{rows}</table>"
        if rows
        else "<p>None yet.</p>"
    )


def render(state: State) -> str:
    """Return the page."""
    limits = "".join(f"<li>{escape(limit)}</li>" for limit in LIMITS)
    with state.lock:
        jobs = [job for job in state.v2.jobs.all() if job.outputs][::-1]
        sections = "".join(_job(job) for job in jobs[:MOST_JOBS]) or "<p>None yet.</p>"
        people = "".join(_person(state, identity) for identity in state.v2.identities.values())
        return (
            f'<!DOCTYPE html><html lang="en"><head><meta charset="utf-8"><title>PiktID emulator</title>'
            f'<meta http-equiv="refresh" content="{REFRESH_SECONDS}"><style>{_STYLE}{v1.STYLE}</style></head><body>'
            f"<header><h1>PiktID emulator</h1><span>Nothing here is sent to PiktID.</span></header>"
            f'<div class="numbers">{_numbers(state)}</div>'
            f"{v1.render(state)}"
            f"<h2>Jobs</h2>{sections}<h2>Identities</h2><div class='people'>{people}</div>"
            f"{_presets(state)}<h2>Projects</h2>{_projects(state)}"
            f"<footer><h2>What it does not imitate</h2><ul>{limits}</ul>"
            f"</footer></body></html>"
        )


async def show(request: Request) -> Response:
    """``GET /``."""
    return HTMLResponse(render(request.app.state.emulator))


ROUTES = [Route("/", show, methods=["GET"])]
