# SPDX-License-Identifier: Apache-2.0
"""The report of a plan: counts for XCom, and lines of the log."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from airflow_provider_piktid.refresh.catalogue import WORK
from airflow_provider_piktid.refresh.plan import Plan
from airflow_provider_piktid.refresh.request import RefreshRequest

#: Sources and reasons that are logged one by one.
SHOWN = 20


def plan_summary(plan: Plan, request: RefreshRequest) -> dict[str, Any]:
    """Return the counts of a plan."""
    submitted: dict[str, int] = dict.fromkeys(WORK, 0)
    for _, reason in plan.work:
        submitted[reason] += 1
    outputs = len(plan.work) * request.variations
    return {
        "run": request.run,
        "source": request.source,
        "output_path": request.output_path,
        "listed": plan.listed,
        "images": len(plan.work),
        "outputs": outputs,
        "credits_estimate": round(outputs * plan.average_price(request.price), 2),
        **submitted,
        "unchanged": plan.reasons["same"],
        "unfinished": plan.reasons["pending"],
        "unknown": plan.reasons["unknown"],
        "lost": plan.reasons["lost"],
        "expired": plan.reasons["expired"],
        "given_up": plan.reasons["given up"],
        "rejected": len(plan.rejected) + len(plan.ungrouped),
        "reused": len(plan.reused) + sum(map(len, plan.equal.values())),
        "waiting": plan.waiting,
        "deleted": len(plan.deleted),
        "dry_run": request.dry_run,
        "pruned": len(plan.deleted) if request.prune and not request.dry_run else 0,
    }


def log_plan(plan: Plan, summary: Mapping[str, Any], log: Any) -> None:
    """Log what will be submitted and why, and what will not."""
    log.info(
        "%(listed)d sources: %(images)d to submit (%(new)d new, %(changed)d changed, %(options)d with other "
        "options, %(failed)d failed before), about %(credits_estimate)g credits; %(unchanged)d unchanged, "
        "%(unfinished)d paid but not downloaded yet, %(reused)d with content that is bought once for several names, "
        "%(waiting)d left for a later run.",
        summary,
    )
    for file, reason in plan.work[:SHOWN]:
        log.info("  %s: %s", reason, file.location.uri)
    if len(plan.work) > SHOWN:
        log.info("  ... and %d more", len(plan.work) - SHOWN)
    for problem in [*plan.ungrouped, *(row.error for row in plan.rejected)][:SHOWN]:
        log.warning("Skipped: %s", problem)
    if plan.deleted:
        shown = ", ".join(plan.deleted[:10])
        action = "removing their outputs" if summary["pruned"] else "their outputs are kept"
        log.warning("%d source(s) no longer exist (%s): %s", len(plan.deleted), action, shown)
    for count, text in WARNINGS.items():
        if summary[count]:
            log.warning(text, summary)


#: Counts that are warned about if they are not 0.
WARNINGS = {
    "unknown": "%(unknown)d source(s) may have been paid for by an earlier run: the reply was lost and PiktID lists "
    "no job. They are not submitted again; look at the account's jobs, or set swap={'on_lost_reply': 'resubmit'} to "
    "submit them once more.",
    "lost": "The outputs of %(lost)d source(s) were removed from the output folder, or have another size there. They "
    "are downloaded again if PiktID still has them; to buy the others again, set `rebuild_missing`.",
    "expired": "%(expired)d source(s) were paid for, but `max_late_runs` runs could not download them. They count as "
    "failed now: the next run submits them again, at most `max_attempts` times in all.",
    "given_up": "%(given_up)d source(s) failed `max_attempts` times; skipping them until they change.",
}
