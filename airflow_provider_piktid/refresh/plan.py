# SPDX-License-Identifier: Apache-2.0
"""Work out what a refresh has to do: list, compare, choose, deal out. Nothing is sent to PiktID."""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from airflow_provider_piktid.exceptions import PiktidConfigError
from airflow_provider_piktid.files import storage
from airflow_provider_piktid.files.formats import V2_FORMATS
from airflow_provider_piktid.files.listing import matches
from airflow_provider_piktid.files.storage import Location, SourceFile
from airflow_provider_piktid.refresh.catalogue import CatalogueRow, Known, Reason, compare, in_turn, targets
from airflow_provider_piktid.refresh.store import CatalogueStore, Snapshot

#: Sources whose content is read at once, to look into them.
WORKERS = 8


@dataclass(frozen=True)
class Wanted:
    """
    What a refresh is asked for.

    :param producer: DAG and task, for the rows.
    :param run: Digest of the DAG run, for the rows.
    """

    source: str
    output_path: str
    identity_code: str
    options_key: str
    producer: str
    run: str
    exclude: Sequence[str] = ()
    max_images: int | None = None
    max_attempts: int = 3


@dataclass
class Plan:
    """
    What there is to do.

    :param work: Sources to buy, in turn, each with its reason; no more than ``max_images``.
    :param waiting: Number of sources whose turn comes in a later run.
    :param rejected: Rows of sources that are no pictures.
    :param touched: Rows of sources that are equal but for what the store says of them.
    :param deleted: Relative paths of sources that are gone, with outputs.
    """

    listed: int = 0
    snapshot: Snapshot = field(default_factory=Snapshot)
    work: list[tuple[SourceFile, Reason]] = field(default_factory=list)
    waiting: int = 0
    reasons: Counter[Reason] = field(default_factory=Counter)
    rejected: list[CatalogueRow] = field(default_factory=list)
    touched: list[dict[str, Any]] = field(default_factory=list)
    recovered: list[CatalogueRow] = field(default_factory=list)
    deleted: list[str] = field(default_factory=list)
    names: dict[str, str] = field(default_factory=dict)


def make_plan(wanted: Wanted, store: CatalogueStore) -> Plan:
    """
    Compare sources and catalogue. Reads only; what it finds is written by the caller.

    :raises PiktidConfigError: Source and output lie in one another, or another refresh works in this output.
    :raises PiktidImageError: No source at all.
    :raises PiktidRecordError: The catalogue was written by a newer version.
    """
    check_apart(wanted.source, wanted.output_path)
    files = storage.find_images(wanted.source, formats=V2_FORMATS)
    # The file system keeps the listing otherwise: beside the catalogue that would be the larger half.
    files[0].location.fs.invalidate_cache()
    plan = Plan(snapshot=store.read())
    listing = {file.relative for file in files}
    kept = [file for file in files if not matches(file.relative, wanted.exclude)]
    plan.listed = len(kept)
    plan.deleted = sorted(relative for relative in plan.snapshot.known if relative not in listing)
    judged = _judge(kept, plan, wanted, store)
    plan.reasons.update(reason for _, reason in judged)
    _check_producer(judged, plan.snapshot.known, wanted)
    work = in_turn(item for item in judged if item[1] in ("new", "changed", "options", "failed"))
    _choose(plan, work, wanted)
    plan.names = targets([file for file, _ in plan.work], listing, plan.snapshot.known)
    return plan


def check_apart(source: str, output: str) -> None:
    """
    Refuse a source and an output of which one holds the other: outputs would be bought as sources.

    :raises PiktidConfigError: They are not apart.
    """
    left, right = storage.locate(source), storage.locate(output)
    if _protocol(left) != _protocol(right):
        return
    first, second = _folder(left), _folder(right)
    if first == second or first.startswith(second) or second.startswith(first):
        raise PiktidConfigError(
            f"source {source} and output_path {output} lie in one another: outputs would be taken for new "
            "sources, and paid for. Give folders beside each other."
        )


def _protocol(location: Location) -> str:
    return location.prefix.partition("://")[0]


def _folder(location: Location) -> str:
    base = storage.glob_base(location.path)
    # A name that exists is no glob, whatever it is made of.
    path = location.path if base == location.path or location.fs.exists(location.path) else base
    if location.is_local:
        path = os.path.realpath(path)
    return path.rstrip("/") + "/"


def _judge(
    files: Sequence[SourceFile], plan: Plan, wanted: Wanted, store: CatalogueStore
) -> list[tuple[SourceFile, Reason]]:
    known = plan.snapshot.known

    def reason(file: SourceFile) -> Reason:
        entry = known.get(file.relative)
        return compare(entry, file, wanted.options_key, max_attempts=wanted.max_attempts)

    judged = [(file, reason(file)) for file in files]
    if plan.snapshot.damaged:
        lost = [file for file, why in judged if why == "new"]
        plan.recovered = store.recover(
            lost,
            identity_code=wanted.identity_code,
            key=wanted.options_key,
            producer=wanted.producer,
            run=wanted.run,
        )
        status = {row.relative: row.status for row in plan.recovered}
        judged = [
            (file, _found_again(status[file.relative])) if file.relative in status else (file, why)
            for file, why in judged
        ]
    unsure = [file for file, why in judged if why == "verify"]
    if unsure:
        equal = _verify(unsure, plan, wanted)
        judged = [(file, equal.get(file.relative, why)) for file, why in judged]
    return judged


def _found_again(status: str) -> Reason:
    return "same" if status == "done" else "pending"


def _verify(files: Sequence[SourceFile], plan: Plan, wanted: Wanted) -> dict[str, Reason]:
    """Read sources that were touched; those that are equal get new rows, so that it is done once."""
    verdicts: dict[str, Reason] = {}
    with ThreadPoolExecutor(WORKERS) as pool:
        digests = pool.map(lambda file: storage.digest(file.location), files)
        for file, digest in zip(files, digests, strict=True):
            entry = plan.snapshot.known[file.relative]
            if digest != entry.sha256:
                verdicts[file.relative] = "changed"
                continue
            entry.version, entry.modified = file.version, file.modified
            fresh = {"source_version": file.version, "source_modified": file.modified, "at": time.time()}
            plan.touched += [row | fresh for row in entry.rows]
            verdicts[file.relative] = compare(
                entry, file, wanted.options_key, max_attempts=wanted.max_attempts
            )
    return verdicts


def _check_producer(
    judged: Iterable[tuple[SourceFile, Reason]], known: Mapping[str, Known], wanted: Wanted
) -> None:
    """Two refreshes with other options in one output would undo, and pay for, each other's work every night."""
    for file, reason in judged:
        if reason == "options" and known[file.relative].producer != wanted.producer:
            raise PiktidConfigError(
                f"{wanted.output_path} holds what {known[file.relative].producer} made with other options or "
                f"another identity. Give {wanted.producer} an output_path of its own. Nothing was submitted."
            )


def _choose(plan: Plan, work: list[tuple[SourceFile, Reason]], wanted: Wanted) -> None:
    """Take as many as may be bought, looking into each: a file that is no picture takes nobody's place."""
    limit = len(work) if wanted.max_images is None else wanted.max_images
    position = 0
    while len(plan.work) < limit and position < len(work):
        part = work[position : position + limit - len(plan.work)]
        position += len(part)
        problems = storage.image_problems([file for file, _ in part], V2_FORMATS, workers=WORKERS)
        for item, problem in zip(part, problems, strict=True):
            if problem:
                plan.rejected.append(_rejected(item[0], problem, wanted))
            else:
                plan.work.append(item)
    plan.waiting = len(work) - position


def _rejected(file: SourceFile, problem: str, wanted: Wanted) -> CatalogueRow:
    base = _base(file, file.relative, wanted)
    return CatalogueRow(**base, attempts=0, status="rejected", at=time.time(), error=problem)


def _base(file: SourceFile, target: str, wanted: Wanted) -> dict[str, Any]:
    return {
        "relative": file.relative,
        "source": file.location.uri,
        "source_version": file.version,
        "source_sha256": None,
        "source_size": file.size,
        "source_modified": file.modified,
        "target": target,
        "identity_code": wanted.identity_code,
        "options_key": wanted.options_key,
        "producer": wanted.producer,
        "run": wanted.run,
    }


def batch_entries(plan: Plan, wanted: Wanted) -> list[dict[str, Any]]:
    """Describe each source to buy: the upload reads ``source`` and ``relative``, the rest goes to the rows."""
    return [_entry(file, reason, plan, wanted) for file, reason in plan.work]


def _entry(file: SourceFile, reason: Reason, plan: Plan, wanted: Wanted) -> dict[str, Any]:
    before = plan.snapshot.known.get(file.relative)
    attempts = before.attempts if before is not None and reason == "failed" else 0
    target = plan.names[file.relative]
    return {
        "source": file.location.uri,
        "relative": target,
        "reason": reason,
        "row": _base(file, target, wanted) | {"attempts": attempts + 1},
    }


def late_entries(plan: Plan, wanted: Wanted) -> list[dict[str, Any]]:
    """Describe what earlier runs paid for and could not fetch."""
    rows = [row for known in plan.snapshot.known.values() if known.status == "pending" for row in known.rows]
    rows += [vars(row) for row in plan.recovered if row.status == "pending"]
    entries: dict[str, dict[str, Any]] = {}
    for row in rows:
        entry = entries.setdefault(
            row["relative"],
            {
                "source": row["source"],
                "relative": row["target"],
                "file_id": row["file_id"],
                "job_ids": [],
                "row": {name: row[name] for name in ROW_BASE} | {"run": wanted.run},
            },
        )
        if row["job_id"] and row["job_id"] not in entry["job_ids"]:
            entry["job_ids"].append(row["job_id"])
    return list(entries.values())


#: Fields of a row that say what was sent, and not what came of it.
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
)
