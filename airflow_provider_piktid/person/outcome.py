# SPDX-License-Identifier: Apache-2.0
"""What the end of a person generation means, for the deferrable and the sync path."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from airflow_provider_piktid.exceptions import (
    PiktidDownloadError,
    PiktidError,
    PiktidJobFailedError,
    PiktidJobTimeout,
    PiktidPartialResultError,
    PiktidSubmissionError,
)
from airflow_provider_piktid.person.record import Generation, PersonRecord


def result_rows(record: PersonRecord, links: Mapping[str, str]) -> list[dict[str, Any]]:
    """List what is done, one row for each person and keyword."""
    return [
        {
            "id_image": item.id_image,
            "id_person": item.id_person,
            "keyword": dict([item.keyword]),
            "url": links.get(item.label),
            "file": item.file,
        }
        for item in record.in_state("done")
    ]


def summary(record: PersonRecord, late: Sequence[Generation]) -> dict[str, Any]:
    """Count, and name what is missing with its reason."""
    missing = record.in_state("failed", "refused", "expired")
    lines = [f"{item.label}: {item.error}" for item in missing]
    lines += [f"{item.label}: {_lateness(item)}" for item in late]
    return {
        "id_image": record.id_image,
        "generations": len(record.generations),
        "successful": len(record.in_state("done")),
        "failed": len(lines),
        "paid_requests": sum(item.asks for item in record.generations),
        "failures": lines,
    }


def raise_for_outcome(
    record: PersonRecord, late: Sequence[Generation], *, fail_on_partial: bool, connection: str
) -> list[str]:
    """
    Decide whether the end is a success.

    :param fail_on_partial: Whether failed generations fail the task, if others succeeded.
    :return: Warnings to log.
    :raises PiktidSubmissionError: What became of a request stays unknown.
    :raises PiktidJobTimeout: A result did not come in time.
    :raises PiktidDownloadError: A result was made and could not be fetched.
    :raises PiktidPartialResultError: Requests were refused, or generations failed and ``fail_on_partial`` is set.
    :raises PiktidJobFailedError: All failed.
    """
    kept = f" {len(record.in_state('done'))} of {len(record.generations)} are done and kept."
    unknown = [item for item in late if item.state == "intent"]
    if unknown:
        raise PiktidSubmissionError(
            f"{connection}: no reply and no result for {_labels(unknown)}; it may have been paid for or not.{kept} "
            "A retry looks again; on_lost_reply='resubmit' then asks once more."
        )
    if late:
        raise PiktidJobTimeout(
            f"{connection}: no result in time for {_labels(late)}.{kept} A retry looks for it again; "
            "on_lost_reply='resubmit' then asks once more, and a higher `timeout` waits longer.",
            job_ids=tuple(item.label for item in late),
        )
    expired = record.in_state("expired")
    if expired:
        lines = tuple(f"{item.label}: {item.error}" for item in expired)
        raise PiktidDownloadError(
            f"{connection}: results were lost: {'; '.join(lines[:5])}.{kept} A retry looks for them, and asks anew "
            "only for those that PiktID does not announce any more.",
            failed=lines,
        )
    refused = record.in_state("refused")
    if refused:
        raise _with_permanence(
            PiktidPartialResultError(
                f"{connection}: {len(refused)} generation(s) were refused and not paid: {refused[0].error}{kept} "
                "A later try asks only for what is missing."
            ),
            permanent=record.refused_for_good,
        )
    return _raise_for_failed(record, fail_on_partial=fail_on_partial, connection=connection, kept=kept)


def _raise_for_failed(
    record: PersonRecord, *, fail_on_partial: bool, connection: str, kept: str
) -> list[str]:
    failed = record.in_state("failed")
    if not failed:
        return []
    reasons = "; ".join(f"{item.label}: {item.error}" for item in failed[:5])
    text = f"{connection}: PiktID failed to generate {len(failed)} of {len(record.generations)} ({reasons})."
    if not record.in_state("done"):
        raise PiktidJobFailedError(f"{text} A retry asks for them again.")
    if fail_on_partial:
        raise _with_permanence(
            PiktidPartialResultError(f"{text}{kept} A retry asks only for what is missing."), permanent=False
        )
    return [f"{text}{kept}"]


def _with_permanence(error: PiktidError, *, permanent: bool) -> PiktidError:
    error.permanent = permanent
    return error


def _lateness(item: Generation) -> str:
    return "its reply was lost, and no result came" if item.state == "intent" else "no result came in time"


def _labels(items: Sequence[Generation]) -> str:
    shown = "; ".join(item.label for item in items[:5])
    return f"{len(items)} generation(s) ({shown}{'; ...' if len(items) > 5 else ''})"
