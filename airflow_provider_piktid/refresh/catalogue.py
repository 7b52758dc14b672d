# SPDX-License-Identifier: Apache-2.0
"""
The rows of a catalogue, the current state of each source, and what a refresh has to do with it.

All rows of one source that were written together have the same ``at``; the newest ones are current, older ones are
history. So rows may be written twice, and in any order, safely.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from operator import itemgetter
from typing import TYPE_CHECKING, Any, Generic, Literal, TypeVar, get_args

from airflow_provider_piktid.exceptions import PiktidRecordError
from airflow_provider_piktid.files.storage import SourceFile

if TYPE_CHECKING:
    from airflow_provider_piktid.jobs.manifest import Row

SCHEMA_VERSION = 2

T = TypeVar("T")

#: In the order in which one of them stands for a source that has outputs of several.
Status = Literal["pending", "unknown", "lost", "done", "failed", "rejected", "pruned"]
Reason = Literal[
    "new",
    "changed",
    "options",
    "failed",
    "rebuild",
    "same",
    "pending",
    "unknown",
    "given up",
    "verify",
    "equal",
    "lost",
    "expired",
]

#: Why a source is submitted, as named in the summary.
WORK: tuple[Reason, ...] = ("new", "changed", "options", "failed", "rebuild")


#: Fields of a row that describe what was submitted, and not its outcome.
ROW_BASE = (
    "relative",
    "source",
    "source_version",
    "source_sha256",
    "source_size",
    "source_modified",
    "target",
    "identity_code",
    "options_key",
    "producer",
    "run",
    "attempts",
    "late_runs",
    "filename",
    "project_id",
    "sources",
)

#: Fields that are written only where they have a value: types of jobs that combine images have them.
OPTIONAL = ("sources", "instruction")

#: Seconds between the times of rows of one source that the same process writes one after the other.
TICK = 0.001


@dataclass
class CatalogueRow:
    """
    One output of a source, or the reason why the source has none.

    :param relative: Path of the source below ``source``; identifies the source.
    :param source: URI of the source.
    :param source_version: ETag or checksum from the store; None if the store has none.
    :param source_sha256: SHA-256 of the uploaded content; None if it was never uploaded.
    :param source_size: Bytes.
    :param source_modified: Last change, epoch seconds.
    :param target: Path that the outputs are named after; ``relative``, unless two sources would share a name.
    :param identity_code: Identity of the outputs; None if their type of job has none.
    :param options_key: Digest of type of job, options and ``rerun_key``; see ``arguments.options_key``.
    :param producer: DAG and task that planned it, so that two refreshes do not overwrite each other's work.
    :param run: Digest of the DAG run that wrote it.
    :param file_id: Id of the uploaded source at PiktID.
    :param filename: Its name there.
    :param project_id: Its project, which identifies the account.
    :param image_index: Its position in the job, from 0. Of a type of job with instructions, this and ``group_index``
        are the instruction and the variation; which is which, PiktID's documents disagree about.
    :param attempts: How often this content was submitted with these options.
    :param status: ``done``; ``pending``: paid but not downloaded yet, a later run does that; ``unknown``: the reply
        to its request was lost and PiktID lists no job for it, a later run looks again; ``lost``: its output was
        removed from the folder, and is downloaded again if PiktID still has the job; ``failed``: PiktID
        returned no output; ``rejected``: not a supported image format, never uploaded; ``pruned``: the source no longer
        exists, and its outputs were removed.
    :param file: Path of the output below the output folder.
    :param credits: This output's share of the credits of its job; None if PiktID did not report them.
    :param late_runs: How many runs tried to download an output that an earlier one paid for.
    :param equal_to: Source with the same content that this output was bought for; None if it was bought for this one.
    :param at: When it was written, epoch seconds.
    :param sources: URIs of the files that went into it, if its type of job combines images.
    :param instruction: Number of the instruction that it was made by, from 0; None if that is not certain.
    """

    relative: str
    source: str
    source_version: str | None
    source_sha256: str | None
    source_size: int
    source_modified: float
    target: str
    identity_code: str | None
    options_key: str
    producer: str
    run: str
    attempts: int
    status: Status
    at: float
    file_id: str | None = None
    job_id: str | None = None
    image_index: int | None = None
    group_index: int | None = None
    version: int | None = None
    model_used: str | None = None
    file: str | None = None
    size: int | None = None
    sha256: str | None = None
    credits: float | None = None
    error: str | None = None
    equal_to: str | None = None
    late_runs: int = 0
    filename: str | None = None
    project_id: str | None = None
    sources: list[str] | None = None
    instruction: int | None = None
    schema: int = SCHEMA_VERSION


class FromRow(Generic[T]):
    """A field of the first row of a source; the same in all of them."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __get__(self, state: SourceState, owner: type) -> T:
        value: T = state.rows[0][self._name]
        return value


@dataclass(slots=True)
class SourceState:
    """The current state of a source: its newest rows, which were written together."""

    at: float
    status: Status
    rows: list[dict[str, Any]]

    version = FromRow[str | None]("source_version")
    sha256 = FromRow[str | None]("source_sha256")
    size = FromRow[int]("source_size")
    modified = FromRow[float]("source_modified")
    target = FromRow[str]("target")
    options_key = FromRow[str]("options_key")
    producer = FromRow[str]("producer")
    attempts = FromRow[int]("attempts")
    source = FromRow[str]("source")

    def newer(self, other: SourceState) -> SourceState:
        """Return the newer one of two states of a source; rows with the same time belong together."""
        if other.at != self.at:
            return max(self, other, key=lambda state: state.at)
        rows = [*self.rows, *(row for row in other.rows if row not in self.rows)]
        return SourceState(self.at, _merged_status(self.status, other.status), rows)


def pruned_row(relative: str, state: SourceState, run: str, at: float) -> dict[str, Any]:
    """Return the row that replaces those of a source whose outputs are removed: parts are not written again for it."""
    fields = {"status": "pruned", "at": at, "run": run, "schema": SCHEMA_VERSION}
    return {**{name: state.rows[0].get(name) for name in ROW_BASE}, "relative": relative, **fields}


def source_root(uri: str, relative: str) -> str:
    """Return the folder of a source without the connection id: ``s3://bucket/in/`` of ``s3://conn@bucket/in/a.jpg``."""
    protocol, separator, rest = uri.removesuffix(relative).partition("://")
    netloc, slash, path = rest.partition("/")
    return f"{protocol}{separator}{netloc.rpartition('@')[2]}{slash}{path}"


def source_fields(file: SourceFile, target: str) -> dict[str, Any]:
    """Return the fields of a row that describe its source."""
    return {
        "relative": file.relative,
        "source": file.location.uri,
        "source_version": file.version,
        "source_sha256": None,
        "source_size": file.size,
        "source_modified": file.modified,
        "target": target,
    }


def uploaded_fields(upload: Mapping[str, Any], planned: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of a row that describe what was uploaded, which may be newer than what was planned."""
    return {
        "file_id": upload.get("file_id"),
        "filename": upload.get("filename") or planned.get("filename"),
        "project_id": upload.get("project_id") or planned.get("project_id"),
        "source_sha256": upload.get("sha256") or planned["source_sha256"],
        "source_version": upload.get("version", planned["source_version"]),
        "source_size": upload.get("size", planned["source_size"]),
        "source_modified": upload.get("modified", planned["source_modified"]),
    }


def paid_base(entry: Mapping[str, Any], upload: Mapping[str, Any], at: float) -> dict[str, Any]:
    """Return the fields of a row of a source that was paid for: as planned, uploaded, and written at a time."""
    # The clock of this machine may be behind the one that wrote the rows before.
    moment = max(at, entry.get("planned_at", 0.0))
    return dict(entry["row"]) | uploaded_fields(upload, entry["row"]) | {"at": moment}


def equal_entries(entry: Mapping[str, Any], upload: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Return the sources that get the output of an entry too, unless it changed between plan and upload."""
    planned = entry["row"]["source_sha256"]
    is_same = upload.get("sha256") in (None, planned)
    return list(entry.get("equal", ())) if is_same else []


def row_of(row: Mapping[str, Any]) -> CatalogueRow:
    """Return a row that was read; fields that a later version of this package has added are left out."""
    return CatalogueRow(
        **{name: value for name, value in row.items() if name in CatalogueRow.__annotations__}
    )


def pending_row(base: Mapping[str, Any], job_id: str | None, position: int | None) -> CatalogueRow:
    """
    Return the row of a source whose output exists or will exist, and is not downloaded.

    :param position: Position of the source in the job, from 0; some servers name no inputs in their results.
    """
    return CatalogueRow(
        **base, status="pending", job_id=job_id, image_index=position, error="not downloaded yet"
    )


def output_fields(row: Row) -> dict[str, Any]:
    """Return the fields of a row that describe its output, from the row of a manifest."""
    return {
        "job_id": row.job_id,
        "image_index": row.image_index,
        "group_index": row.group_index,
        "version": row.version,
        "model_used": row.model_used,
        "file": row.file,
        "size": row.size,
        "sha256": row.sha256,
    }


def plain(rows: Iterable[CatalogueRow | Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return rows as plain dicts."""
    given = (asdict(row) if isinstance(row, CatalogueRow) else row for row in rows)
    return [
        {name: value for name, value in row.items() if value is not None or name not in OPTIONAL}
        for row in given
    ]


def state_of(row: Any, where: str) -> tuple[str, SourceState] | None:
    """
    Return the relative path of a source, and its state by one row; None if the value is not a row.

    :raises PiktidRecordError: It has a newer schema. Its meaning is unknown, so nothing may be submitted.
    """
    try:
        if row["schema"] > SCHEMA_VERSION:
            raise PiktidRecordError(
                f"{where} has schema {row['schema']}; this package supports {SCHEMA_VERSION}. Nothing was submitted. "
                "Update airflow-provider-piktid on the workers, or use another `output_path`."
            )
        relative, at, status, *texts, size, modified, attempts = _FIELDS(row)
        # Numbers can be added, and texts joined.
        size + modified + attempts + at
        "".join(texts)
    except (KeyError, TypeError):
        return None
    if status not in _ORDER or not isinstance(relative, str):
        return None
    return relative, SourceState(at, status, [row])


#: Without these fields, and their types, a value is not a row.
_FIELDS = itemgetter(
    "relative",
    "at",
    "status",
    "source",
    "target",
    "options_key",
    "producer",
    "source_size",
    "source_modified",
    "attempts",
)


def add_rows(known: dict[str, SourceState], rows: Iterable[CatalogueRow | Mapping[str, Any]]) -> None:
    """Add rows that this run makes."""
    for row in plain(rows):
        found = state_of(row, "a row of this run")
        if found is None:
            raise ValueError(f"not a row: {row}")
        relative, state = found
        before = known.get(relative)
        known[relative] = before.newer(state) if before else state


def _merged_status(one: Status, other: Status) -> Status:
    """Return the status of a source from two outputs: one still to download comes first, then a finished one."""
    return min(one, other, key=_ORDER.__getitem__)


_ORDER = {status: place for place, status in enumerate(get_args(Status))}


def compare(
    known: SourceState | None, file: SourceFile, key: str, *, max_attempts: int, resubmit: bool = False
) -> Reason:
    """
    Return what has to be done with a source.

    :param resubmit: Submit sources again whose request has an unknown fate. Default: False.
    :return: A value of :data:`WORK`, or ``same``; ``pending``: paid, to be downloaded; ``unknown``: paid or
        not, the reply to its request was lost; ``given up``: it
        failed ``max_attempts`` times; ``verify``: the SHA-256 has to be compared.
    """
    if known is None or known.status == "pruned":
        return "new"
    if known.status == "pending":
        return "pending"
    content = same_content(known, file)
    if content is None:
        return "verify"
    if not content:
        return "changed"
    if known.status == "rejected":
        return "failed"
    if known.options_key != key:
        return "options"
    if known.status == "unknown":
        return "new" if resubmit else "unknown"
    if known.status == "lost":
        return "lost"
    if known.status == "failed":
        return "failed" if known.attempts < max_attempts else "given up"
    return "same"


def same_content(known: SourceState, file: SourceFile) -> bool | None:
    """Return whether a source is unchanged; None if its content has to be read to know."""
    version, size = known.version, known.size
    if version and file.version:
        if version == file.version:
            return True
    elif size == file.size and known.modified == file.modified:
        return True
    return None if size == file.size and known.sha256 else False


def in_order(work: Iterable[tuple[SourceFile, Reason]]) -> list[tuple[SourceFile, Reason]]:
    """Sort work: oldest first; sources that failed before come last, so that they do not block the others."""
    return sorted(work, key=lambda item: (item[1] == "failed", item[0].modified, item[0].relative))
