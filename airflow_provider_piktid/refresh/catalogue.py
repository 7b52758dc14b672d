# SPDX-License-Identifier: Apache-2.0
"""
What a refresh knows of its sources: rows, which of them count, and what has to be done.

Rows are JSON objects, one a line. All rows of one source that were written together have the same ``at``;
the newest of them count, older ones are history. So rows may be written twice, and in any order, without harm.
"""

from __future__ import annotations

import hashlib
import json
import posixpath
import sys
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, get_args

from airflow_provider_piktid.common.records import fingerprint
from airflow_provider_piktid.exceptions import PiktidRecordError
from airflow_provider_piktid.files.names import folded, output_stem
from airflow_provider_piktid.files.storage import SourceFile

SCHEMA_VERSION = 1

Status = Literal["done", "pending", "failed", "rejected"]
Reason = Literal["new", "changed", "options", "failed", "same", "pending", "given up", "verify"]

#: Why a source is bought, in the words of the summary.
WORK: tuple[Reason, ...] = ("new", "changed", "options", "failed")


@dataclass
class CatalogueRow:
    """
    One output of a source, or the one reason why there is none.

    :param relative: Path of the source below ``source``; what rows are compared by.
    :param source: URI of the source.
    :param source_version: ETag or checksum that the store gave; None where it gives none.
    :param source_sha256: Of what was uploaded; None if it never was.
    :param source_size: Bytes.
    :param source_modified: Last change, epoch seconds.
    :param target: Path that the outputs are named after; ``relative``, unless two would share a name.
    :param options_key: Digest of identity, options and ``rerun_key``; see :func:`options_key`.
    :param producer: DAG and task that planned it, so that two refreshes do not undo each other's work.
    :param run: Digest of the DAG run that wrote it.
    :param file_id: The uploaded source at PiktID.
    :param attempts: How often this content was sent with these options.
    :param status: ``done``; ``pending``: paid, not here yet, to be fetched by a later run; ``failed``: PiktID
        gave none; ``rejected``: no picture that PiktID takes, never sent.
    :param file: Path of the output below the output folder.
    :param credits: This output's share of what its job cost; None if PiktID did not say.
    :param at: When it was written, epoch seconds.
    """

    relative: str
    source: str
    source_version: str | None
    source_sha256: str | None
    source_size: int
    source_modified: float
    target: str
    identity_code: str
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
    schema: int = SCHEMA_VERSION


@dataclass(slots=True)
class Known:
    """What counts of a source: its newest rows, as lines, and what planning needs of them."""

    at: float
    status: Status
    version: str | None
    sha256: str | None
    size: int
    modified: float
    target: str
    options_key: str
    producer: str
    attempts: int
    lines: list[bytes] = field(default_factory=list)

    @property
    def rows(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.lines]


def dump(rows: Iterable[CatalogueRow | Mapping[str, Any]]) -> bytes:
    """Write rows, one a line. A name that is no UTF-8 is escaped."""
    plain = (asdict(row) if isinstance(row, CatalogueRow) else row for row in rows)
    lines = (json.dumps(row, ensure_ascii=False) + "\n" for row in plain)
    return "".join(lines).encode(errors="backslashreplace")


def add_line(known: dict[str, Known], line: bytes, where: str) -> bool:
    """
    Take in one line; False if it is no row.

    :raises PiktidRecordError: It has a newer schema: what it means is unknown, so nothing may be bought on it.
    """
    try:
        row = json.loads(line)
        schema = int(row["schema"])
        if schema > SCHEMA_VERSION:
            raise PiktidRecordError(
                f"{where} has schema {schema}; this package knows {SCHEMA_VERSION}. Update "
                "airflow-provider-piktid on the workers, or give another output_path. Nothing was submitted."
            )
        entry = _known(row)
        relative = sys.intern(str(row["relative"]))
    except (KeyError, TypeError, ValueError):
        return False
    _add(known, relative, entry, line)
    return True


def _known(row: Mapping[str, Any]) -> Known:
    if row["status"] not in get_args(Status):
        raise ValueError(row["status"])
    return Known(
        at=float(row["at"]),
        status=sys.intern(row["status"]),  # type: ignore[arg-type]
        version=row["source_version"],
        sha256=row["source_sha256"],
        size=int(row["source_size"]),
        modified=float(row["source_modified"]),
        target=row["relative"] if row["target"] == row["relative"] else str(row["target"]),
        options_key=sys.intern(row["options_key"]),
        producer=sys.intern(row["producer"]),
        attempts=int(row["attempts"]),
    )


def _add(known: dict[str, Known], relative: str, entry: Known, line: bytes) -> None:
    before = known.get(relative)
    if before is None or entry.at > before.at:
        entry.lines.append(line)
        known[relative] = entry
    elif entry.at == before.at and line not in before.lines:
        before.lines.append(line)
        before.status = _together(before.status, entry.status)


def _together(one: Status, other: Status) -> Status:
    """Tell a source's status from two outputs: something to fetch comes first, then something that is here."""
    order: tuple[Status, ...] = ("pending", "done", "failed", "rejected")
    return min(one, other, key=order.index)


def options_key(identity_code: str, options: Mapping[str, Any], rerun_key: str | None = None) -> str:
    """
    Return a digest of what decides the outputs of a source.

    An option that is given as its default and one that is left out are the same.

    :param options: Arguments of the model swap; those that do not decide the content are ignored.
    :param rerun_key: Any text; another one makes everything again.
    :raises ValueError: An option is not what the swap takes.
    """
    from airflow_provider_piktid.models.model_swap import ModelSwap

    job = ModelSwap.from_arguments({**options, "identity_code": identity_code})
    return fingerprint({"rerun_key": rerun_key, **job.content()})[:16]


def compare(known: Known | None, file: SourceFile, key: str, *, max_attempts: int) -> Reason:
    """
    Say what has to be done with a source.

    :return: A word of :data:`WORK`, or ``same``; ``pending``: paid already, to be fetched; ``given up``: it
        failed ``max_attempts`` times; ``verify``: only its sha256 can tell.
    """
    if known is None:
        return "new"
    if known.status == "pending":
        return "pending"
    content = _same_content(known, file)
    if content is None:
        return "verify"
    if not content:
        return "changed"
    if known.status == "rejected":
        return "failed"
    if known.options_key != key:
        return "options"
    if known.status == "failed":
        return "failed" if known.attempts < max_attempts else "given up"
    return "same"


def _same_content(known: Known, file: SourceFile) -> bool | None:
    """Whether a source has not changed; None if that cannot be said without reading it."""
    if known.version and file.version:
        if known.version == file.version:
            return True
    elif known.size == file.size and known.modified == file.modified:
        return True
    return None if known.size == file.size and known.sha256 else False


def in_turn(work: Iterable[tuple[SourceFile, Reason]]) -> list[tuple[SourceFile, Reason]]:
    """Order work: oldest first, what failed before last, so that it cannot keep others from their turn."""
    return sorted(work, key=lambda item: (item[1] == "failed", item[0].modified, item[0].relative))


def targets(work: Sequence[SourceFile], listing: Iterable[str], known: Mapping[str, Known]) -> dict[str, str]:
    """
    Name the outputs of each source, so that no two sources of any night share a file.

    A source keeps the name it had. ``a.jpg`` and ``a.png``, or ``a.jpg`` and ``A.jpg``, would share one on some
    store: those get a mark made of their path.

    :param listing: Relative paths of all sources.
    :return: Relative path to the path that its outputs are named after.
    """
    counts = Counter(folded(output_stem(relative)) for relative in listing)
    counts.update(
        folded(output_stem(entry.target)) for relative, entry in known.items() if entry.target != relative
    )
    gone = {folded(output_stem(entry.target)) for entry in known.values()}
    named = {}
    for file in work:
        entry = known.get(file.relative)
        if entry is not None:
            named[file.relative] = entry.target
        elif counts[folded(output_stem(file.relative))] > 1 or folded(output_stem(file.relative)) in gone:
            named[file.relative] = _marked(file.relative)
        else:
            named[file.relative] = file.relative
    return named


def _marked(relative: str) -> str:
    mark = hashlib.sha256(relative.encode(errors="surrogatepass")).hexdigest()[:8]
    folder, name = posixpath.split(relative)
    stem, extension = posixpath.splitext(name)
    # Names are cut behind this: the mark has to survive that.
    return posixpath.join(folder, f"{stem[:40]}~{mark}{extension}")
