# SPDX-License-Identifier: Apache-2.0
"""Download results as ZIP archives."""

from __future__ import annotations

import secrets
import stat
import zipfile
from pathlib import PurePosixPath

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from ..blobs import Blob
from ..clock import iso
from ..faults import Fault
from ..files import blob_response
from ..state import State
from ..wire import Refused, read_json
from .checks import body_check, finish
from .entities import ZipLink
from .job import Job, Output
from .jobs import find_job

BULK_IMAGES = 100
_CHUNK = bytes(1024 * 1024)


def _link(state: State, jobs: list[Job], base_url: str) -> Response:
    expires = state.clock.time() + state.settings.zip_link_seconds
    link = ZipLink(secrets.token_urlsafe(24), [job.job_id for job in jobs], expires)
    state.v2.zips[link.token] = link
    return JSONResponse({"download_url": f"{base_url}/download/{link.token}", "expires": iso(expires)})


def _done(job: Job) -> list[Output]:
    return [output for output in job.newest() if output.status == "completed" and output.blob is not None]


async def create_download(request: Request, state: State) -> Response:
    """``POST /download``."""
    check = body_check(state, await read_json(request))
    job_id = check.text("job_id", required=True)
    finish(state, check)
    job = find_job(state, job_id or "")
    if not _done(job):
        raise Refused(400, {"error": "The job has no completed images"})
    return _link(state, [job], state.base_url(request))


async def create_bulk_download(request: Request, state: State) -> Response:
    """``POST /download/bulk``."""
    check = body_check(state, await read_json(request))
    job_ids = check.texts("job_ids")
    finish(state, check)
    jobs = [find_job(state, job_id) for job_id in dict.fromkeys(job_ids)]
    images = sum(len(_done(job)) for job in jobs)
    if images > BULK_IMAGES:
        check.wrong("job_ids", f"The jobs have {images} images; at most {BULK_IMAGES} are allowed")
        check.done()
    if not images:
        raise Refused(400, {"error": "The jobs have no completed images"})
    return _link(state, jobs, state.base_url(request))


async def get_zip(request: Request, state: State) -> Response:
    """``GET /download/{token}``."""
    link = state.v2.zips.get(request.path_params["token"])
    if link is None:
        raise Refused(404, {"error": "Download not found"})
    used_up = link.uses > 0 and state.variants["zip_use"] == "once"
    if used_up or state.clock.time() > link.expires:
        raise Refused(state.variants.number("zip_expired"), {"error": "Download expired"})
    link.uses += 1
    if link.blob is None:
        link.blob = await run_in_threadpool(_build, state, link)
    return await blob_response(state, link.blob, filename="results.zip")


def entry_name(output: Output) -> str:
    """Return the name of an output inside an archive."""
    if output.download_filename:
        return output.download_filename
    name = PurePosixPath(output.filename)
    return f"{name.stem}_{output.group_index}_v{output.version}{name.suffix or '.jpg'}"


def _build(state: State, link: ZipLink) -> Blob:
    path = state.folder.new_path(".zip")
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        used: set[str] = set()
        for job_id in link.job_ids:
            job = state.v2.jobs.get(job_id)
            folder = f"{job_id}/" if len(link.job_ids) > 1 else ""
            for output in _done(job):
                _add(archive, output, folder, used)
            if (fault := job.faults.get("hostile_zip")) is not None:
                _add_hostile(archive, fault)
    return Blob(path, "application/zip", path.stat().st_size)


def _add(archive: zipfile.ZipFile, output: Output, folder: str, used: set[str]) -> None:
    name = folder + entry_name(output)
    if name in used:
        base = PurePosixPath(name)
        name = str(base.with_name(f"{base.stem}_{output.image_index}{base.suffix}"))
    used.add(name)
    if output.blob is not None:
        archive.write(output.blob.path, name)


def _add_hostile(archive: zipfile.ZipFile, fault: Fault) -> None:
    """Add entries that harm readers that do not check them."""
    kinds = fault.get("entries", ["absolute", "parent", "symlink", "bomb", "duplicate"])
    data = b"hostile"
    names = {
        "absolute": "/piktid-escape/piktid-escape.jpg",
        "parent": "../../piktid-escape.jpg",
        "backslash": "..\\piktid-escape.jpg",
    }
    for kind in kinds:
        if kind in names:
            archive.writestr(names[kind], data)
        elif kind == "symlink":
            info = zipfile.ZipInfo("link.jpg")
            info.create_system = 3
            info.external_attr = (stat.S_IFLNK | 0o777) << 16
            archive.writestr(info, "/etc/passwd")
        elif kind == "duplicate":
            info = _first(archive)
            archive.NameToInfo.pop(info.filename, None)  # otherwise zipfile warns about the duplicate
            archive.writestr(info, data)
        elif kind == "bomb":
            with archive.open(_deflated("bomb.jpg"), "w", force_zip64=True) as out:
                for _ in range(int(fault.get("bomb_bytes", 256 * 1024**2)) // len(_CHUNK)):
                    out.write(_CHUNK)


def _deflated(name: str) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name)
    info.compress_type = zipfile.ZIP_DEFLATED
    return info


def _first(archive: zipfile.ZipFile) -> zipfile.ZipInfo:
    names = archive.namelist()
    return zipfile.ZipInfo(names[0] if names else "first.jpg")
