# SPDX-License-Identifier: Apache-2.0
"""The outcome of a person generation, for the deferrable and the sync path."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from airflow_provider_piktid.common import metrics
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
    """Return the finished generations, one row for each person and keyword."""
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
    """Return counts, and one line for each missing generation; report the counts."""
    missing = record.in_state("failed", "refused", "expired")
    lines = [f"{item.label}: {item.error}" for item in missing]
    lines += [f"{item.label}: {_lateness(item)}" for item in late]
    metrics.count("generations.done", len(record.in_state("done")))
    metrics.count("generations.failed", len(lines))
    return {
        "id_image": record.id_image,
        "generations": len(record.generations),
        "successful": len(record.in_state("done")),
        "failed": len(lines),
        "paid_requests": sum(item.paid_requests for item in record.generations),
        "failures": lines,
    }


def raise_for_outcome(
    record: PersonRecord, late: Sequence[Generation], *, fail_on_partial: bool, connection: str
) -> list[str]:
    """
    Raise if the generation was not successful.

    :param fail_on_partial: Whether failed generations fail the task, if others succeeded.
    :return: Warnings to log.
    :raises PiktidSubmissionError: The outcome of a request is unknown.
    :raises PiktidJobTimeout: A result did not arrive in time.
    :raises PiktidDownloadError: A result was generated but could not be downloaded.
    :raises PiktidPartialResultError: Requests were refused, or generations failed and ``fail_on_partial`` is set.
    :raises PiktidJobFailedError: All failed.
    """
    kept = f" {len(record.in_state('done'))} of {len(record.generations)} are done and kept."
    unknown = [item for item in late if item.state == "intent"]
    if unknown:
        raise PiktidSubmissionError(
            f"{connection}: no reply and no result for {_labels(unknown)}; they may have been billed."
            f"{_unnamed(record)}{kept} "
            "A retry looks for the results again; with on_lost_reply='resubmit' it then requests them once more."
        )
    if late:
        raise PiktidJobTimeout(
            f"{connection}: no result in time for {_labels(late)}.{_unnamed(record)}{kept} A retry looks for the "
            "results again; with on_lost_reply='resubmit' it then requests them once more. Raise `timeout` to wait "
            "longer.",
            job_ids=tuple(item.label for item in late),
        )
    expired = record.in_state("expired")
    if expired:
        lines = tuple(f"{item.label}: {item.error}" for item in expired)
        raise PiktidDownloadError(
            f"{connection}: results were not downloaded: {'; '.join(lines[:5])}.{kept} A retry looks for them, and "
            "requests again only those that PiktID no longer lists.",
            failed=lines,
        )
    refused = record.in_state("refused")
    if refused:
        raise _with_permanence(
            PiktidPartialResultError(
                f"{connection}: {len(refused)} generation(s) were refused and not billed: {refused[0].error}{kept} "
                "A retry requests only the missing ones."
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
        raise PiktidJobFailedError(f"{text} A retry requests them again.")
    if fail_on_partial:
        raise _with_permanence(
            PiktidPartialResultError(f"{text}{kept} A retry requests only the missing ones."), permanent=False
        )
    return [f"{text}{kept}"]


def _with_permanence(error: PiktidError, *, permanent: bool) -> PiktidError:
    error.permanent = permanent
    return error


def _lateness(item: Generation) -> str:
    if item.state == "intent":
        return "its reply was lost, and no result arrived"
    return "no result arrived in time"


def _unnamed(record: PersonRecord) -> str:
    """Return a sentence about errors that PiktID reported without ids, empty if there were none."""
    if not record.unnamed_errors:
        return ""
    return (
        " PiktID reported an error without ids in that time, which may be about one of them or about another task of "
        f"the account: {'; '.join(record.unnamed_errors)}."
    )


def _labels(items: Sequence[Generation]) -> str:
    shown = "; ".join(item.label for item in items[:5])
    return f"{len(items)} generation(s) ({shown}{'; ...' if len(items) > 5 else ''})"
