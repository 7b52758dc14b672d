# SPDX-License-Identifier: Apache-2.0
"""
The paths of outputs, and the manifest that describes each file.

The manifest is a JSON array with one row per output and one row per line. Its rows are plain data for the next
step of a pipeline, without links and secrets.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import posixpath
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from airflow_provider_piktid.exceptions import PiktidDownloadError
from airflow_provider_piktid.files.names import folded, safe_name, safe_relative
from airflow_provider_piktid.files.storage import PRIVATE_FOLDER
from airflow_provider_piktid.jobs.outcome import is_downloadable

if TYPE_CHECKING:
    from airflow_provider_piktid.models.v2 import ImageResult, JobResults

SCHEMA_VERSION = 1

RowStatus = Literal["pending", "done", "failed"]

#: Job id, image index, group index, version.
RowKey: TypeAlias = tuple[str, int, int, int]


@dataclass
class Row:
    """
    One output.

    :param source: URI of the image that it was made from, the first one of several; None if it is not known.
    :param sources: URIs of all images that it was made from: some kinds of job combine their inputs.
    :param file: Path below the output folder; None if there is no output.
    :param status: ``done``; ``pending``: not downloaded yet; ``failed``: see ``error``.
    :param size: Bytes.
    :param replaces: Another file with this name existed before and is replaced.
    :param instead_of: The name that another file has, which is kept. Default: none, the output has its own name.
    """

    source: str | None
    file: str | None
    job_id: str
    image_index: int
    group_index: int
    version: int
    model_used: str | None
    status: RowStatus
    size: int | None = None
    sha256: str | None = None
    error: str | None = None
    job_credits_used: float | None = None
    identity_code: str | None = None
    replaces: bool = False
    instead_of: str | None = None
    sources: list[str] = field(default_factory=list)
    schema: int = SCHEMA_VERSION

    @property
    def key(self) -> RowKey:
        return self.job_id, self.image_index, self.group_index, self.version


def manifest_path(job_ids: Iterable[str]) -> str:
    """Return the path of the manifest below the output folder; the same jobs always have the same path."""
    digest = hashlib.sha256("\0".join(sorted(job_ids)).encode()).hexdigest()[:16]
    return f"{PRIVATE_FOLDER}/manifest-{digest}.json"


def dump(rows: Sequence[Row]) -> bytes:
    """Return rows as a JSON array, one row per line."""
    lines = (json.dumps(asdict(row), ensure_ascii=False) for row in rows)
    # A file name that is not valid UTF-8 contains lone surrogates; JSON can escape them.
    return ("[\n" + ",\n".join(lines) + "\n]\n").encode(errors="backslashreplace")


def load(value: Any, uri: str) -> list[Row]:
    """
    Return the rows of a manifest.

    :raises PiktidDownloadError: It is not a manifest, or has a newer schema.
    """
    try:
        rows = [Row(**item) for item in value or []]
        newest = max((row.schema for row in rows), default=SCHEMA_VERSION)
    except TypeError as error:
        raise PiktidDownloadError(
            f"{uri} is not a manifest that this version can read. Move it, or update airflow-provider-piktid."
        ) from error
    if newest > SCHEMA_VERSION:
        raise PiktidDownloadError(f"{uri} has schema {newest}; update airflow-provider-piktid to read it.")
    return rows


def plan_rows(
    jobs: Sequence[tuple[str, JobResults]], images: Sequence[Mapping[str, Any]] | None
) -> list[tuple[Row, ImageResult]]:
    """
    Choose a unique path for every output of some jobs, even if the server returns duplicate names.

    With the list of the upload, the source folders are mirrored; without it, each job has its own folder.
    """
    sources = _Sources(jobs, images)
    planned = []
    for job_id, results in jobs:
        stems = _stems(results, sources, job_id)
        for result in sorted(results.results, key=lambda item: item.key):
            inputs = sources.of(job_id, result)
            folder = posixpath.dirname(inputs[0]["relative"]) if inputs else safe_name(job_id, "job")
            downloadable = is_downloadable(result)
            name = f"{stems[result.image_index]}_{result.group_index}_v{result.version}{_extension(result)}"
            row = Row(
                source=inputs[0]["source"] if inputs else None,
                sources=[image["source"] for image in inputs],
                file=posixpath.join(folder, name) if downloadable else None,
                job_id=job_id,
                image_index=result.image_index,
                group_index=result.group_index,
                version=result.version,
                model_used=result.model_used,
                status="pending" if downloadable else "failed",
                error=None if downloadable else (result.error_message or result.status or "no output"),
                job_credits_used=results.credits_used,
                identity_code=results.identity_code,
            )
            planned.append((row, result))
    _make_unique([row for row, _ in planned])
    return planned


class _Sources:
    """The uploaded images that each result was made from."""

    def __init__(
        self, jobs: Sequence[tuple[str, JobResults]], images: Sequence[Mapping[str, Any]] | None
    ) -> None:
        rows = [_with_relative(image) for image in images or []]
        _relative_by_source(rows)
        self._by_id = {row["file_id"]: row for row in rows}
        names = Counter(row["filename"] for row in rows)
        self._by_name = {row["filename"]: row for row in rows if names[row["filename"]] == 1}
        self._by_place = _by_place(jobs, rows)

    def of(self, job_id: str, result: ImageResult) -> list[dict[str, str]]:
        """Return the uploaded images that a result was made from, as far as PiktID says."""
        inputs = [self._by_id[link.uuid] for link in result.inputs if link.uuid in self._by_id]
        if inputs:
            return inputs
        if result.original_filename in self._by_name:
            return [self._by_name[result.original_filename]]
        place = self._by_place.get((job_id, result.image_index))
        return [place] if place else []


def _with_relative(image: Mapping[str, Any]) -> dict[str, str]:
    row = {name: str(image.get(name) or "") for name in ("file_id", "filename", "source", "relative")}
    return row | {"relative": safe_relative(row["relative"])}


def _relative_by_source(rows: list[dict[str, str]]) -> None:
    """Fill in a missing ``relative``, as in a list not made by the upload, from the parts that sources do not share."""
    if all(row["relative"] for row in rows) or not rows:
        return
    folders = [posixpath.dirname(row["source"]) for row in rows]
    common = posixpath.commonprefix([folder + "/" for folder in folders])
    start = len(common[: common.rfind("/") + 1])
    for row in rows:
        row["relative"] = safe_relative(row["source"][start:]) or safe_name(row["filename"], "image")


def _by_place(
    jobs: Sequence[tuple[str, JobResults]], rows: list[dict[str, str]]
) -> dict[tuple[str, int], dict[str, str]]:
    """Match images by the order of jobs and results, if the counts agree: the oldest answers contain no inputs."""
    places = [(job_id, index) for job_id, results in jobs for index in _indices(results)]
    return dict(zip(places, rows, strict=True)) if len(places) == len(rows) else {}


def _indices(results: JobResults) -> list[int]:
    return sorted({result.image_index for result in results.results})


def _stems(results: JobResults, sources: _Sources, job_id: str) -> dict[int, str]:
    stems = {}
    for result in results.results:
        inputs = sources.of(job_id, result)
        name = posixpath.basename(inputs[0]["relative"]) if inputs else result.original_filename
        fallback = f"image_{result.image_index}"
        stems[result.image_index] = safe_name(posixpath.splitext(safe_name(name, fallback))[0], fallback)
    return stems


def _extension(result: ImageResult) -> str:
    extension = posixpath.splitext(safe_name(result.original_filename, ""))[1].lower()
    return extension if extension in (".jpg", ".jpeg", ".png", ".webp") else ".jpg"


def _make_unique(rows: list[Row]) -> None:
    """
    Add job and index to the names of outputs that would share a file.

    The extension is ignored, as it is replaced by that of the content; so is letter case.
    """
    named = [row for row in rows if row.file]
    counts = Counter(_name_key(row.file or "") for row in named)
    taken = {name for name, count in counts.items() if count == 1}
    for row in named:
        if counts[_name_key(row.file or "")] == 1:
            continue
        row.file = next(name for name in further_names(row, row.file or "") if _name_key(name) not in taken)
        taken.add(_name_key(row.file))


def further_names(row: Row, name: str) -> Iterator[str]:
    """Yield names for an output whose own name another file has; the same ones at every call."""
    stem, extension = posixpath.splitext(name)
    stem = f"{stem}_{_short(safe_name(row.job_id, 'job'))}_{row.image_index}"
    yield stem + extension
    yield from (f"{stem}_{number}{extension}" for number in itertools.count(2))


def _name_key(path: str) -> str:
    """Return a key that is equal for two names that a store may treat as the same; the extension is ignored."""
    return folded(posixpath.splitext(path)[0])


def _short(name: str) -> str:
    """Return at most 40 bytes, so that a name with the longest stem stays below 255."""
    return name.encode()[:40].decode("utf-8", "ignore")
