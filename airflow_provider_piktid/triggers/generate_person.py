# SPDX-License-Identifier: Apache-2.0
"""Wait for generated persons in the triggerer."""

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

#: Consecutive failures to look up the connection before giving up, and the pause between them in seconds.
LOOKUP_FAILURES = 5
LOOKUP_PAUSE = 3.0


class PiktidGeneratePersonTrigger(WaitTrigger):
    """
    Wait for the notifications of generated persons.

    All waiting tasks of one account and triggerer process share one poller. Sends one event: ``done``: every
    generation has ended; ``slot``: ``resume_at`` has passed, or a result has to be downloaded before its notification
    expires; ``timeout``; ``error``. The event contains the ended generations, without links; its message, the texts of
    errors without ids that may be about one of them.

    :param awaited: The generations, as ``AwaitedGeneration.to_json`` returns them; if empty, wait only until
        ``resume_at``.
    :param piktid_conn_id: Connection id. Default: ``piktid_default``.
    :param used: Identities of notifications to skip. Default: none.
    :param resume_at: Epoch seconds at which the wait always ends. Default: none.
    :param end_time: Deadline, epoch seconds. Default: none.
    :param collect_after: Seconds after which a result is returned even if others are still outstanding. Default:
        300, as notifications expire after 600.
    :param listed_at: Epoch seconds at which the worker listed the notifications. The first request of the trigger keeps
        ``v1_poll_interval`` to it. Default: 0, never.
    :param resume_state: Returned in the event, with ``listed_at`` of the last request. JSON only, no secrets. Default:
        none.
    """

    awaited: Sequence[Mapping[str, Any]]
    used: Sequence[int | str]
    resume_at: float | None
    end_time: float | None
    collect_after: float
    listed_at: float

    def __init__(
        self,
        awaited: Sequence[Mapping[str, Any]],
        piktid_conn_id: str = "piktid_default",
        used: Sequence[int | str] = (),
        resume_at: float | None = None,
        end_time: float | None = None,
        collect_after: float = 300.0,
        listed_at: float = 0.0,
        resume_state: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(
            awaited=awaited,
            piktid_conn_id=piktid_conn_id,
            used=list(used),
            resume_at=resume_at,
            end_time=end_time,
            collect_after=collect_after,
            listed_at=listed_at,
            resume_state=resume_state,
        )

    def _outstanding(self) -> list[str]:
        return [str(item["name"]) for item in self.awaited]

    async def _event(self) -> JobEvent:
        if not self.awaited:
            # Without generations neither the connection nor the service is needed.
            await asyncio.sleep(max(0.0, (self.resume_at or 0.0) - time.time()))
            return JobEvent("slot")
        result = await self._poll()
        findings = result.findings
        ended = dict.fromkeys(findings.found, "completed")
        ended |= {name: f"failed: {reason}" for name, reason in findings.failed.items()}
        return JobEvent(
            result.ending,
            ended=ended,
            message="; ".join(findings.unnamed[:3]),
            notification_ids=[number for number in findings.ids if isinstance(number, int)],
            resume_state={"listed_at": result.listed_at},
        )

    async def _poll(self) -> PollResult:
        """Wait with the poller of the account. If the token is refused, look up the connection again, once."""
        from airflow_provider_piktid.hooks.piktid import async_v1_client
        from airflow_provider_piktid.person.poller import shared_poller

        refused: PiktidSettings | None = None
        while True:
            settings = await self._settings()
            if settings == refused:
                raise PiktidAuthError(
                    f"{self.piktid_conn_id}: PiktID refused the account. Correct the connection; PiktID lists results "
                    "for 10 minutes only.",
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
            listed_at=self.listed_at,
        )

    def _log_progress(self, findings: Findings) -> None:
        self.log.info(
            "%d of %d generation(s) ended, %d of them failed.",
            len(findings.settled),
            len(self.awaited),
            len(findings.failed),
        )
