# SPDX-License-Identifier: Apache-2.0
"""Wait for generated persons without a worker."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from airflow_provider_piktid.common.events import JobEvent
from airflow_provider_piktid.exceptions import PiktidAuthError, PiktidError
from airflow_provider_piktid.triggers.job import JobWaitTrigger

if TYPE_CHECKING:
    from airflow_provider_piktid.hooks.piktid import PiktidSettings
    from airflow_provider_piktid.person.poller import Watch, Watched
    from airflow_provider_piktid.person.record import Findings

#: Failures in a row to look the connection up before the wait is given up.
LOOKUP_FAILURES = 5
LOOKUP_PAUSE = 3.0


class PiktidGeneratePersonTrigger(JobWaitTrigger):
    """
    Wait until generated persons are there.

    All waiting tasks of one account and triggerer process share one list of notifications, asked for every 3
    seconds. Gives one event: ``done``: every generation has ended; ``slot``: ``resume_at`` has come, or a result
    has to be fetched before its notification expires; ``timeout``; ``error``. The event names what ended; it holds
    no links.

    :param wanted: The generations, as :meth:`airflow_provider_piktid.person.record.Wanted.to_json` gives them;
        none: wait only until ``resume_at``.
    :param piktid_conn_id: Connection id.
    :param used: Notifications to pass over, by identity.
    :param resume_at: Epoch seconds at which the worker has something to do in any case.
    :param end_time: Deadline, epoch seconds; None: none.
    :param collect_after: Seconds after which a result that was seen is handed over, even if others are still out.
        Default 300: notifications live 600.
    :param carry: Handed back in the event, as it is. JSON only, no secrets.
    """

    def __init__(
        self,
        wanted: Sequence[Mapping[str, Any]],
        piktid_conn_id: str = "piktid_default",
        used: Sequence[int | str] = (),
        resume_at: float | None = None,
        end_time: float | None = None,
        collect_after: float = 300.0,
        carry: dict[str, Any] | None = None,
    ) -> None:
        super().__init__()
        self.wanted = [dict(item) for item in wanted]
        self.piktid_conn_id = piktid_conn_id
        self.used = list(used)
        self.resume_at = resume_at
        self.end_time = end_time
        self.collect_after = collect_after
        self.carry = dict(carry or {})
        self.job_ids = [str(item["name"]) for item in self.wanted]

    def serialize(self) -> tuple[str, dict[str, Any]]:
        return (
            "airflow_provider_piktid.triggers.generate_person.PiktidGeneratePersonTrigger",
            {
                "wanted": self.wanted,
                "piktid_conn_id": self.piktid_conn_id,
                "used": self.used,
                "resume_at": self.resume_at,
                "end_time": self.end_time,
                "collect_after": self.collect_after,
                "carry": self.carry,
            },
        )

    async def _event(self) -> JobEvent:
        if not self.wanted:
            # Nothing to ask for: neither the connection nor the service is needed.
            await asyncio.sleep(max(0.0, (self.resume_at or 0.0) - time.time()))
            return JobEvent("slot")
        watched = await self._watched()
        findings = watched.findings
        ended = dict.fromkeys(findings.found, "completed")
        ended |= {name: f"failed: {reason}" for name, reason in findings.failed.items()}
        return JobEvent(
            watched.ending,
            ended=ended,
            notification_ids=[number for number in findings.ids if isinstance(number, int)],
        )

    async def _watched(self) -> Watched:
        """Wait with the account's poller; a refused token is looked up anew, once."""
        from airflow_provider_piktid.hooks.piktid import async_v1_client
        from airflow_provider_piktid.person.poller import shared_poller

        refused: PiktidSettings | None = None
        while True:
            settings = await self._settings()
            if settings == refused:
                raise PiktidAuthError(
                    f"{self.piktid_conn_id}: PiktID refused the account. Correct the connection; what was generated "
                    "meanwhile is kept for 10 minutes.",
                    status=401,
                )

            async def connect(settings: PiktidSettings = settings) -> Any:
                return async_v1_client(settings, patient=False)

            try:
                return await shared_poller(settings.v1_account, connect).wait(
                    self._watch_options(), connect=connect, on_change=self._tell
                )
            except PiktidAuthError:
                refused = settings

    async def _settings(self) -> PiktidSettings:
        from airflow_provider_piktid.hooks.piktid import PiktidHook

        failures = 0
        while True:
            try:
                return await PiktidHook(self.piktid_conn_id).aget_settings()
            except PiktidError:
                raise
            except Exception as error:
                failures += 1
                if failures >= LOOKUP_FAILURES:
                    raise
                self.log.warning("No connection yet (%s); trying again.", type(error).__name__)
                await asyncio.sleep(LOOKUP_PAUSE)

    def _watch_options(self) -> Watch:
        from airflow_provider_piktid.person.poller import Watch
        from airflow_provider_piktid.person.record import Wanted

        return Watch(
            [Wanted.from_json(item) for item in self.wanted],
            used=frozenset(self.used),
            resume_at=self.resume_at,
            end_time=self.end_time if self.end_time is not None else float("inf"),
            collect_after=self.collect_after,
        )

    def _tell(self, findings: Findings) -> None:
        self.log.info(
            "%d of %d generation(s) ended, %d of them failed.",
            len(findings.settled),
            len(self.wanted),
            len(findings.failed),
        )
