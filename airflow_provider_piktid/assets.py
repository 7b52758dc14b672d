# SPDX-License-Identifier: Apache-2.0
"""Assets that report ended jobs, so that a DAG starts when a job ends. Airflow 3.0 and newer."""

from __future__ import annotations

from collections.abc import Sequence

try:
    from airflow.sdk import Asset, AssetWatcher
except ImportError as error:
    from airflow import __version__ as airflow_version

    raise ImportError(
        f"airflow_provider_piktid.assets needs Airflow 3.0 or newer, because it uses asset watchers; this is Airflow "
        f"{airflow_version}. On Airflow 2 wait for a job with PiktidJobSensor, or start a DAG by the webhook with "
        "`python -m airflow_provider_piktid.webhook` and a Dataset; see the documentation, page 'Start a DAG when a "
        "job ends'."
    ) from error

from airflow_provider_piktid.jobs.ended import JobFilter, asset_extra, ended_job_ids, ended_jobs
from airflow_provider_piktid.triggers.job_event import PiktidJobEventTrigger, checked_gather

__all__ = ["ended_job_ids", "ended_jobs", "piktid_jobs_asset"]


def piktid_jobs_asset(
    name: str,
    piktid_conn_id: str = "piktid_default",
    statuses: Sequence[str] = ("completed",),
    job_types: Sequence[str] | None = None,
    projects: Sequence[str] | None = None,
    gather: float = 5.0,
    *,
    watch: bool = True,
) -> Asset:
    """
    Return an asset that gets an event when jobs of an account end, wherever they were started.

    Schedule a DAG on it, and read the jobs with :func:`ended_job_ids`. A DAG that starts jobs itself and is scheduled
    on all jobs of its account would start itself again: set ``job_types`` or ``projects``.

    :param name: Name of the asset, unique in the deployment.
    :param piktid_conn_id: Connection of the account. Default: ``piktid_default``.
    :param statuses: Ends to report: some of ``completed``, ``failed``, ``aborted``. Default: ``completed``.
    :param job_types: Types as PiktID names them, such as ``model_swap``. Default: all but ``identity_preprocessing``,
        which has no pictures.
    :param projects: Names or ids of projects. Default: all.
    :param gather: Least seconds between two events; ends between them are reported together. Default: 5.
    :param watch: Listen in the triggerer. False if the account's webhook alone reports the jobs. Default: True.
    :raises ValueError: An argument is invalid.
    """
    jobs = JobFilter.checked(statuses, job_types, projects)
    gather = checked_gather(gather)
    trigger = PiktidJobEventTrigger(name, piktid_conn_id, gather=gather, **jobs.as_lists())
    watchers = [AssetWatcher(name=f"{name}-watcher", trigger=trigger)] if watch else []
    return Asset(name=name, extra=asset_extra(piktid_conn_id, jobs), watchers=watchers)
