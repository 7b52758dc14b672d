# SPDX-License-Identifier: Apache-2.0
"""Wait for generated persons without a worker."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from airflow_provider_piktid.common.events import JobEvent
from airflow_provider_piktid.exceptions import PiktidAuthError, PiktidError
from airflow_provider_piktid.triggers.job import WaitTrigger

if TYPE_CHECKING:
    from airflow_provider_piktid.hooks.piktid import PiktidSettings
    from airflow_provider_piktid.person.matching import Findings
    from airflow_provider_piktid.person.poller import PollRequest, PollResult

#: Failures in a row to look the connection up before the wait is given up.
LOOKUP_FAILURES = 5
LOOKUP_PAUSE = 3.0


class PiktidGeneratePersonTrigger(WaitTrigger):
    """
    Wait until generated persons are announced.

    All waiting tasks of one account and triggerer process share one list of notifications. Sends one event:
    ``done``: every generation has ended; ``slot``: ``resume_at`` has come, or a result has to be fetched before its
    notification expires; ``timeout``; ``error``. The event names what ended, without links.

    :param awaited: The generations, as ``AwaitedGeneration.to_json`` returns them; none: wait only until
        ``resume_at``.
    :param piktid_conn_id: Connection id. Default: ``piktid_default``.
    :param used: Notifications to skip, by identity. Default: none.
    :param resume_at: Epoch seconds at which the worker has something to do in any case. Default: none.
    :param end_time: Deadline, epoch seconds. Default: none.
    :param collect_after: Seconds after which a result that was seen is handed over, even if others are still
        outstanding. Default: 300, as notifications live 600.
    :param resume_state: Handed back in the event as it is. JSON only, no secrets.
    """

    awaited: Sequence[Mapping[str, Any]]
    used: Sequence[int | str]
    resume_at: float | None
    end_time: float | None
    collect_after: float

    def __init__(
        self,
        awaited: Sequence[Mapping[str, Any]],
        piktid_conn_id: str = "piktid_default",
        used: Sequence[int | str] = (),
        resume_at: float | None = None,
        end_time: float | None = None,
        collect_after: float = 300.0,
        resume_state: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(
            awaited=awaited,
            piktid_conn_id=piktid_conn_id,
            used=list(used),
            resume_at=resume_at,
            end_time=end_time,
            collect_after=collect_after,
            resume_state=resume_state,
        )

    def _outstanding(self) -> list[str]:
        return [str(item["name"]) for item in self.awaited]

    async def _event(self) -> JobEvent:
        if not self.awaited:
            # Nothing to poll for: neither the connection nor the service is needed.
            await asyncio.sleep(max(0.0, (self.resume_at or 0.0) - time.time()))
            return JobEvent("slot")
        result = await self._poll()
        findings = result.findings
        ended = dict.fromkeys(findings.found, "completed")
        ended |= {name: f"failed: {reason}" for name, reason in findings.failed.items()}
        return JobEvent(
            result.ending,
            ended=ended,
            notification_ids=[number for number in findings.ids if isinstance(number, int)],
        )

    async def _poll(self) -> PollResult:
        """Wait with the account's poller; after a refused token the connection is looked up again, once."""
        from airflow_provider_piktid.hooks.piktid import async_v1_client
        from airflow_provider_piktid.person.poller import shared_poller

        refused: PiktidSettings | None = None
        while True:
            settings = await self._settings()
            if settings == refused:
                raise PiktidAuthError(
                    f"{self.piktid_conn_id}: PiktID refused the account. Correct the connection; results that were "
                    "generated meanwhile are announced for 10 minutes.",
                    status=401,
                )

            async def connect(settings: PiktidSettings = settings) -> Any:
                return async_v1_client(settings, patient=False)

            try:
                return await shared_poller(settings.v1_account, connect, settings.v1_poll_interval).wait(
                    self._poll_request(), connect=connect, on_change=self._log_progress
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
                self.log.warning("Could not look up the connection (%s); trying again.", type(error).__name__)
                await asyncio.sleep(LOOKUP_PAUSE)

    def _poll_request(self) -> PollRequest:
        from airflow_provider_piktid.person.matching import AwaitedGeneration
        from airflow_provider_piktid.person.poller import PollRequest

        return PollRequest(
            [AwaitedGeneration.from_json(item) for item in self.awaited],
            used=frozenset(self.used),
            resume_at=self.resume_at,
            end_time=self.end_time if self.end_time is not None else float("inf"),
            collect_after=self.collect_after,
        )

    def _log_progress(self, findings: Findings) -> None:
        self.log.info(
            "%d of %d generation(s) ended, %d of them failed.",
            len(findings.settled),
            len(self.awaited),
            len(findings.failed),
        )
