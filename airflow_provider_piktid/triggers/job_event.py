# SPDX-License-Identifier: Apache-2.0
"""Report the jobs of an account that end, to start DAGs."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any

from airflow.triggers.base import TriggerEvent

from airflow_provider_piktid.jobs.ended import JobFilter, payload

if TYPE_CHECKING:
    from airflow_provider_piktid.jobs.end_watch import EndWatcher

try:
    from airflow.triggers.base import BaseEventTrigger
except ImportError:  # Airflow 2, where it waits as any other trigger
    from airflow.triggers.base import BaseTrigger as BaseEventTrigger  # type: ignore[assignment]

log = logging.getLogger(__name__)

#: Arguments of Airflow's own base class, in 3.4 and newer.
AIRFLOW_ARGUMENTS = frozenset({"queue"})
LONGEST_GATHER = 3600
OWN_ARGUMENTS = ("name", "piktid_conn_id", "statuses", "job_types", "projects", "gather")


class PiktidJobEventTrigger(BaseEventTrigger):
    """
    Watch all jobs of an account, wherever they were started; one event for each burst of ended jobs.

    For the watcher of an asset, see :func:`airflow_provider_piktid.assets.piktid_jobs_asset`. It runs until its asset
    is no longer used, and never raises: what is wrong is logged once, and tried again. It only reads, and never
    deletes a notification. Each end is reported at least once; on Airflow 3.3 and newer ``asset_state_store`` remembers
    the last 500, on older versions a restart reports the ends of the last ten minutes again.

    The constructor does not check its arguments, as any error but ``TypeError`` in a constructor ends the triggerer
    at every start. Invalid arguments are logged when it runs.

    The payload is ``{"jobs": [{"job_id", "status", "job_type", "project", "notification_id"}], "version": 1}``.

    :param name: Name of the asset. Two assets whose triggers have equal arguments would share one trigger, which could
        not remember anything.
    :param piktid_conn_id: Connection id. Default: ``piktid_default``.
    :param statuses: Ends to report: some of ``completed``, ``failed``, ``aborted``. Default: ``completed``.
    :param job_types: Types as PiktID names them, such as ``model_swap``. Default: all but ``identity_preprocessing``.
    :param projects: Names or ids of projects. Default: all.
    :param gather: Least seconds between two events; ends between them are reported together. Default: 5.
    """

    def __init__(
        self,
        name: str = "",
        piktid_conn_id: str = "piktid_default",
        statuses: Any = ("completed",),
        job_types: Any = None,
        projects: Any = None,
        gather: float = 5.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)  # type: ignore[no-untyped-call]
        self.name = name
        self.piktid_conn_id = piktid_conn_id
        self.statuses = statuses
        self.job_types = job_types
        self.projects = projects
        self.gather = gather
        self._more = kwargs

    def serialize(self) -> tuple[str, dict[str, Any]]:
        arguments = {name: getattr(self, name) for name in OWN_ARGUMENTS}
        # Airflow compares arguments to tell whether a trigger has changed; a tuple would come back as a list.
        arguments |= {name: list(value) for name, value in arguments.items() if isinstance(value, tuple)}
        return f"{type(self).__module__}.{type(self).__qualname__}", arguments | self._more

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Yield an event for each burst of ended jobs, for ever."""
        watcher = await self._watcher()
        if watcher is None:
            # To end, or to raise, would be to be started again every two seconds.
            await asyncio.Event().wait()
            return
        try:
            while True:
                jobs = await watcher.next_burst()
                log.info("Asset %s: %d job(s) ended: %s", self.name, len(jobs), [job.job_id for job in jobs])
                yield TriggerEvent(payload(jobs))
        finally:
            await watcher.aclose()

    async def _watcher(self) -> EndWatcher | None:
        """Return what watches the jobs; None, with a line in the log, if the arguments are invalid."""
        from airflow_provider_piktid.hooks.piktid import PiktidHook
        from airflow_provider_piktid.jobs.end_memory import EndMemory
        from airflow_provider_piktid.jobs.end_watch import EndWatcher

        try:
            jobs = JobFilter.checked(self.statuses, self.job_types, self.projects)
            gather = checked_gather(self.gather)
            if not isinstance(self.piktid_conn_id, str) or not self.piktid_conn_id:
                raise ValueError(f"piktid_conn_id must be a connection id, not {self.piktid_conn_id!r}.")
        except ValueError as error:
            log.error(
                "Asset %s reports no jobs, because an argument of its watcher is invalid: %s",
                self.name,
                error,
            )
            return None
        if unknown := sorted(self._more.keys() - AIRFLOW_ARGUMENTS):
            log.warning("The watcher of asset %s ignores unknown arguments: %s", self.name, unknown)
        memory = EndMemory(getattr(self, "asset_state_store", None))
        await memory.load()
        return EndWatcher(self.name, PiktidHook(self.piktid_conn_id).aget_settings, jobs, memory, gather)


def checked_gather(seconds: Any) -> float:
    """
    Check the least time between two events.

    :raises ValueError: It is not a number of seconds.
    """
    known = isinstance(seconds, int | float) and not isinstance(seconds, bool)
    if not known or not 0 <= seconds <= LONGEST_GATHER:
        raise ValueError(f"gather must be a number of seconds from 0 to {LONGEST_GATHER}, not {seconds!r}.")
    return float(seconds)
