# SPDX-License-Identifier: Apache-2.0
"""What the two ``record`` commands share: PiktID's answers about recorded jobs, and the text of records."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_provider_piktid.cli.connection import CommandHook
from airflow_provider_piktid.cli.output import Text
from airflow_provider_piktid.common.concurrency import run_bounded
from airflow_provider_piktid.exceptions import PiktidNotFoundError

if TYPE_CHECKING:
    from airflow_provider_piktid.client import AsyncPiktidClient

#: Jobs that PiktID is asked about at the same time.
READERS = 8


def add_answers(records: list[dict[str, Any]], conn_id: str) -> None:
    """Add to each recorded job what PiktID says about it now: status, outputs, credits."""
    jobs = [job for record in records for job in record["jobs"]]
    if not jobs:
        return

    async def ask(client: AsyncPiktidClient) -> None:
        async def one(job: dict[str, Any]) -> None:
            job |= await _answer(client, job["job_id"])

        await run_bounded(one, jobs, READERS)

    with CommandHook(conn_id).get_conn() as client:
        client.run(ask)


async def _answer(client: AsyncPiktidClient, job_id: str) -> dict[str, Any]:
    from airflow_provider_piktid.jobs.outcome import outcome_of

    try:
        outcome = outcome_of(job_id, await client.get_job_results(job_id))
    except PiktidNotFoundError:
        return {"status": "unknown to PiktID", "outputs": None, "credits_used": None}
    return {"status": outcome.status, "outputs": outcome.successful, "credits_used": outcome.credits_used}


def show_records(records: list[dict[str, Any]], text: Text) -> None:
    """Print records: the sentence, a table of jobs or generations, then what is open."""
    for record in records:
        text.line()
        text.line(f"{record['where']}:")
        text.line(record["sentence"])
        for rows in (record["jobs"], record.get("generations") or []):
            if rows:
                columns = list(rows[0])
                text.table([name.replace("_", " ") for name in columns], [list(row.values()) for row in rows])
        for line in record["open"]:
            text.line(f"OPEN: {line}")
        for line in record["notes"]:
            text.line(line)
