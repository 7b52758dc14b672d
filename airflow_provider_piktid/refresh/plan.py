# SPDX-License-Identifier: Apache-2.0
"""Plan a refresh: list the sources, compare them with the catalogue, choose what to submit. PiktID is not called."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import chain
from typing import Any

from airflow_provider_piktid.exceptions import PiktidConfigError
from airflow_provider_piktid.files.formats import V2_FORMATS
from airflow_provider_piktid.files.search import iter_images, no_images
from airflow_provider_piktid.files.storage import PRIVATE_FOLDER, SourceFile
from airflow_provider_piktid.files.walk import iter_sizes
from airflow_provider_piktid.refresh.batches import Find, PaidBatch, PlanFiles, paid_batches
from airflow_provider_piktid.refresh.catalogue import (
    TICK,
    WORK,
    CatalogueRow,
    Reason,
    SourceState,
    add_rows,
    in_order,
)
from airflow_provider_piktid.refresh.checks import check_producer
from airflow_provider_piktid.refresh.comparison import Comparer, Comparison
from airflow_provider_piktid.refresh.content import Classified, EqualContent, Reuse
from airflow_provider_piktid.refresh.groups import Grouping, digest_of, problems_of
from airflow_provider_piktid.refresh.history import resume_past
from airflow_provider_piktid.refresh.outputs import PresentFiles
from airflow_provider_piktid.refresh.presence import Presence
from airflow_provider_piktid.refresh.recovery import recover
from airflow_provider_piktid.refresh.request import RefreshRequest
from airflow_provider_piktid.refresh.store import CatalogueStore

#: Sources that are read at the same time, to check their content.
WORKERS = 8


@dataclass
class Plan:
    """
    What a refresh has to do.

    :param files: The batches of this run and of earlier ones, as they were before.
    :param now: Time of its rows, epoch seconds.
    :param known: The catalogue of the sources that are not unchanged, and of those that the plan refers to.
    :param damaged: Names of parts of the catalogue that contain invalid lines.
    :param work: Sources to submit, in order, each with its reason; at most ``max_images``.
    :param waiting: Number of sources that are left for a later run.
    :param paid: Batches of earlier runs for which paid requests were sent.
    :param resumed: Rows of sources that such a batch paid for, or may have, and that the catalogue does not have.
    :param rejected: Rows of sources that are not supported images.
    :param ungrouped: Why files or groups are not sources, one line each.
    :param touched: New rows of sources with unchanged content whose version or date changed.
    :param recovered: Rows rebuilt from manifests, as the catalogue is damaged.
    :param noticed: New rows of sources whose output was removed, is back, could not be downloaded for long, or was
        bought with these options before.
    :param reuse: Sources whose output is that of a known source with equal content.
    :param equal: Relative path of a source in ``work`` to other sources of this run with equal content.
    :param deleted: Relative paths of sources that no longer exist and are in the catalogue.
    :param reused: Sources that need a copy of the output of a known source.
    :param names: Relative path of each source in ``work``, ``equal`` and ``reused`` to the path that its outputs are
        named after.
    :param first_of: SHA-256 to the source in ``work`` that has this content.
    :param prices: Credits of about a hundred outputs.
    :param is_first_try: Whether the catalogue has no rows of this run yet.
    """

    files: PlanFiles
    now: float = field(default_factory=time.time)
    listed: int = 0
    known: dict[str, SourceState] = field(default_factory=dict)
    damaged: set[str] = field(default_factory=set)
    work: list[tuple[SourceFile, Reason]] = field(default_factory=list)
    waiting: int = 0
    reasons: Counter[Reason] = field(default_factory=Counter)
    paid: list[PaidBatch] = field(default_factory=list)
    resumed: list[CatalogueRow] = field(default_factory=list)
    rejected: list[CatalogueRow] = field(default_factory=list)
    ungrouped: list[str] = field(default_factory=list)
    touched: list[dict[str, Any]] = field(default_factory=list)
    recovered: list[CatalogueRow] = field(default_factory=list)
    noticed: list[dict[str, Any]] = field(default_factory=list)
    reuse: Reuse = field(default_factory=Reuse)
    equal: dict[str, list[SourceFile]] = field(default_factory=dict)
    reused: list[SourceFile] = field(default_factory=list)
    deleted: list[str] = field(default_factory=list)
    names: dict[str, str] = field(default_factory=dict)
    first_of: dict[str, str] = field(default_factory=dict)
    prices: list[float] = field(default_factory=list)
    is_first_try: bool = True

    @property
    def entries_at(self) -> float:
        """Earliest time of the rows that this run's batches write, epoch seconds: later than those of its plan."""
        return self.now + 3 * TICK

    def rows(self) -> list[CatalogueRow | Mapping[str, Any]]:
        """Return the rows to write; those of sources that an earlier run rejected for the same reason are not new."""
        rejected = [row for row in self.rejected if not self._is_known(row)]
        return [*self.resumed, *rejected, *self.touched, *self.recovered, *self.noticed]

    @property
    def named(self) -> list[SourceFile]:
        """Sources that need a name for their outputs."""
        equal = chain.from_iterable(self.equal.values())
        return [*(file for file, _ in self.work), *equal, *self.reused]

    def average_price(self, stated: float | None) -> float:
        """Return the average credits of an output, from about a hundred outputs of the catalogue, or what is stated."""
        if self.prices:
            return sum(self.prices) / len(self.prices)
        return 1.0 if stated is None else stated

    def _is_known(self, row: CatalogueRow) -> bool:
        known = self.known.get(row.relative)
        return known is not None and any(old.get("error") == row.error for old in known.rows)


def make_plan(request: RefreshRequest, store: CatalogueStore, find: Find) -> Plan:
    """
    Compare the sources with the catalogue. This only reads; the caller writes the rows.

    :param find: Looks for the job of a request whose reply was lost in an earlier run; not called otherwise.

    :raises PiktidConfigError: Another refresh uses this output.
    :raises PiktidImageError: There is no source.
    :raises PiktidRecordError: The catalogue was written by a newer version.
    """
    present = PresentFiles(iter_sizes(store.output, without=PRIVATE_FOLDER))
    plan = Plan(PlanFiles(store.private))
    plan.paid = paid_batches(plan.files)
    paid = [row for batch in plan.paid for row in batch.rows(find, resubmit=request.resubmit)]
    grouping = _grouping(request)
    found = _compare(request, present, store, paid, plan.damaged, grouping)
    if grouping is not None:
        found.leave_out(grouping.problems)
        plan.ungrouped = grouping.reasons()
    plan.listed, plan.known, plan.resumed = found.listed, found.known, found.resumed
    plan.deleted, plan.prices, plan.is_first_try = found.deleted, found.prices, not found.has_run
    # Rows of this run are newer than all others, also if the clock was set back.
    plan.now = max(plan.now, found.newest + TICK)
    classified = _classify(found.classified, plan, request, store)
    check_producer(classified, plan.known, request)
    presence = Presence(request, plan.known, present, plan.now + TICK)
    classified = presence.apply(classified)
    classified, resumed = resume_past(classified, plan.known, request, plan.files, plan.now + TICK)
    plan.noticed = [*presence.rows, *resumed]

    def load(digests: set[str]) -> Iterator[tuple[str, SourceState]]:
        return (item for item in store.states() if found.contents.has(item[1]) and item[1].sha256 in digests)

    equal = EqualContent(request, plan.known, present, found.contents, load, plan.reuse)
    classified = equal.apply(classified)
    plan.reused = [file for file, reason in classified if reason == "equal"]
    plan.reasons.update(reason for _, reason in classified)
    plan.reasons["same"] += found.unchanged
    _choose(plan, in_order(item for item in classified if item[1] in WORK), request, equal)
    plan.names = found.names.targets(plan.named, plan.known) if plan.named else {}
    return plan


def _grouping(request: RefreshRequest) -> Grouping | None:
    """Return how files become sources; None if each of them is one."""
    if request.group_by is None:
        return None
    return Grouping(request.group_by, request.exclude, request.most_images)


def _compare(
    request: RefreshRequest,
    present: PresentFiles,
    store: CatalogueStore,
    paid: Iterable[CatalogueRow],
    damaged: set[str],
    grouping: Grouping | None,
) -> Comparison:
    files = iter_images(request.source, V2_FORMATS, name="source")
    if grouping is not None:
        files = grouping.groups(files)
    first = next(files, None)
    if first is None:
        if grouping is not None and grouping.problems:
            raise PiktidConfigError(
                f"{request.source} has no group of images. {' '.join(grouping.reasons())}"
            )
        raise no_images([request.source], 0, V2_FORMATS)
    comparer = Comparer(request, present, paid)
    return comparer.compare(first, chain([first], files), store.states(damaged=damaged))


def _classify(
    classified: list[Classified], plan: Plan, request: RefreshRequest, store: CatalogueStore
) -> list[Classified]:
    """Decide on sources that the catalogue has lost, and on those whose content has to be read."""
    if plan.damaged:
        lost = [file for file, why in classified if why == "new"]
        plan.recovered = recover(store.private, lost, request)
        status = {row.relative: row.status for row in plan.recovered}
        classified = [
            (file, _recovered_reason(status[file.relative])) if file.relative in status else (file, why)
            for file, why in classified
        ]
    unsure = [file for file, why in classified if why == "verify"]
    if unsure:
        equal = _verify(unsure, plan, request)
        classified = [(file, equal.get(file.relative, why)) for file, why in classified]
    return classified


def _recovered_reason(status: str) -> Reason:
    return "same" if status == "done" else "pending"


def _verify(files: Sequence[SourceFile], plan: Plan, request: RefreshRequest) -> dict[str, Reason]:
    """Compare sources by SHA-256. Unchanged ones get new rows, so that they are not read again."""
    reasons: dict[str, Reason] = {}
    with ThreadPoolExecutor(WORKERS) as pool:
        digests = pool.map(digest_of, files)
        for file, digest in zip(files, digests, strict=True):
            entry = plan.known[file.relative]
            if digest != entry.sha256:
                plan.reuse.digests[file.relative] = digest
                reasons[file.relative] = "changed"
                continue
            fresh = {"source_version": file.version, "source_modified": file.modified, "at": plan.now}
            rows = [row | fresh for row in entry.rows]
            plan.touched += rows
            add_rows(plan.known, rows)
            reasons[file.relative] = request.compare(plan.known[file.relative], file)
    return reasons


def _choose(plan: Plan, work: list[Classified], request: RefreshRequest, equal: EqualContent) -> None:
    """Choose up to ``max_images`` sources. Files that are not supported images are rejected and do not count."""
    limit = len(work) if request.max_images is None else request.max_images
    position = 0
    while len(plan.work) < limit and position < len(work):
        part = work[position : position + limit - len(plan.work)]
        position += len(part)
        equal.read_equal_sizes(file for file, _ in part)
        problems = problems_of([file for file, _ in part], WORKERS)
        for item, problem in zip(part, problems, strict=True):
            if problem:
                plan.rejected.append(_rejected(item[0], problem, request, plan.now))
            else:
                _add_work(plan, item)
    plan.waiting = len(work) - position


def _add_work(plan: Plan, item: Classified) -> None:
    """Add a source to submit, or to be delivered with another one that has equal content."""
    digest = plan.reuse.digests.get(item[0].relative)
    first = plan.first_of.setdefault(digest, item[0].relative) if digest else item[0].relative
    if first == item[0].relative:
        plan.work.append(item)
    else:
        plan.equal.setdefault(first, []).append(item[0])


def _rejected(file: SourceFile, problem: str, request: RefreshRequest, now: float) -> CatalogueRow:
    base = request.row_base(file, file.relative)
    return CatalogueRow(**base, attempts=0, status="rejected", at=now, error=problem)
