# SPDX-License-Identifier: Apache-2.0
"""What an asset event says about jobs that have ended: which jobs, its payload, and its reader."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from airflow_provider_piktid.models.v2 import Job, Notification

__all__ = ["EndedJob", "JobFilter", "asset_extra", "ended_job_ids", "ended_jobs", "payload", "reports_end"]

VERSION: Final = 1
#: Key of an asset's extra that says which jobs it reports.
EXTRA_KEY: Final = "piktid"
#: The words of a job that has ended.
END_WORDS: Final = frozenset({"completed", "failed", "aborted"})
#: This type has no pictures to download, so it has to be asked for by name.
WITHOUT_PICTURES: Final = "identity_preprocessing"
#: Names of notifications that only exist for jobs that have ended.
_END_NAMES: Final = frozenset({"completed", "error"})
#: The status in these is not that of a job.
_OF_IMAGES: Final = frozenset({"image_result"})


@dataclass(frozen=True)
class EndedJob:
    """
    A job that has ended, as the payload names it.

    :param status: ``completed``, ``failed`` or ``aborted``.
    :param job_type: As PiktID names it, such as ``model_swap``; None if PiktID does not say.
    :param project: Name of the project, or its id if PiktID does not return the name; None if it has none.
    :param notification_id: The notification that reported the end; None if the job was found in the gallery.
    """

    job_id: str
    status: str
    job_type: str | None = None
    project: str | None = None
    notification_id: int | None = None

    @classmethod
    def of(cls, job: Job, notification_id: int | None = None) -> EndedJob:
        project = job.project_text or job.project_key or job.project_id
        return cls(job.job_id, job.status, job.job_type, project, notification_id)


@dataclass(frozen=True)
class JobFilter:
    """
    Which ends of jobs an asset reports.

    :param statuses: Some of ``completed``, ``failed``, ``aborted``. Default: ``completed``.
    :param job_types: Types as PiktID names them, such as ``model_swap``. Default: all but
        ``identity_preprocessing``, which has no pictures.
    :param projects: Names or ids of projects. Default: all.
    """

    statuses: tuple[str, ...] = ("completed",)
    job_types: tuple[str, ...] | None = None
    projects: tuple[str, ...] | None = None

    @classmethod
    def checked(cls, statuses: Any, job_types: Any = None, projects: Any = None) -> JobFilter:
        """
        Check the arguments, which may be anything that JSON can express.

        :raises ValueError: An argument is invalid; the message names it.
        """
        found = cls(
            _words("statuses", statuses),
            None if job_types is None else _words("job_types", job_types),
            None if projects is None else _words("projects", projects),
        )
        unknown = sorted(set(found.statuses) - END_WORDS)
        if unknown:
            raise ValueError(f"statuses must be some of {', '.join(sorted(END_WORDS))}, not {unknown}.")
        return found

    def takes(self, job: Job) -> bool:
        """Return whether a job that has ended is to be reported."""
        if job.status not in self.statuses:
            return False
        if self.job_types is None:
            if job.job_type == WITHOUT_PICTURES:
                return False
        elif job.job_type not in self.job_types:
            return False
        names = {job.project_text, job.project_key, job.project_id}
        return self.projects is None or not names.isdisjoint(self.projects)

    def as_lists(self) -> dict[str, list[str] | None]:
        """Return the arguments in the form of JSON."""
        return {name: None if value is None else list(value) for name, value in vars(self).items()}


def _words(name: str, given: Any) -> tuple[str, ...]:
    if isinstance(given, str) or not isinstance(given, Iterable):
        raise ValueError(f"{name} must be a list of texts, not {given!r}.")
    words = tuple(given)
    if not words or not all(isinstance(word, str) and word for word in words):
        raise ValueError(f"{name} must be a list of texts with at least one entry, not {list(words)!r}.")
    return tuple(dict.fromkeys(words))


def asset_extra(piktid_conn_id: str, jobs: JobFilter) -> dict[str, Any]:
    """
    Return the ``extra`` by which the webhook receiver finds an asset, or a dataset of Airflow 2.

    It contains no secret.
    """
    return {EXTRA_KEY: {"piktid_conn_id": piktid_conn_id, **jobs.as_lists(), "version": VERSION}}


def filter_of(extra: Any, piktid_conn_id: str) -> JobFilter | None:
    """Return the filter in the extra of an asset; None if it reports no jobs of this connection."""
    own = extra.get(EXTRA_KEY) if isinstance(extra, Mapping) else None
    if not isinstance(own, Mapping) or own.get("piktid_conn_id") != piktid_conn_id:
        return None
    try:
        return JobFilter.checked(own.get("statuses"), own.get("job_types"), own.get("projects"))
    except ValueError:
        return None


def payload(jobs: Iterable[EndedJob]) -> dict[str, Any]:
    """Return the payload of an event."""
    return {"jobs": [asdict(job) for job in jobs], "version": VERSION}


def is_about_a_job(notification: Notification) -> bool:
    """Return whether a notification may be about a job; a test of the webhook is not."""
    return notification.name != "ping"


def reports_end(notification: Notification) -> bool:
    """Return whether a notification says that its job has ended."""
    if notification.name in _OF_IMAGES or not is_about_a_job(notification):
        return False
    return notification.name in _END_NAMES or notification.status in END_WORDS


def ended_jobs(events: Any) -> list[dict[str, Any]]:
    """
    Return the jobs that asset events report, each once, in the order of their last event.

    Events of other assets, and what is not of the expected form, are skipped.

    :param events: ``triggering_asset_events`` of the context (``triggering_dataset_events`` on Airflow 2), one of its
        values, or ``inlet_events[asset]``. None, as in a run that was started by hand, has no jobs.
    :return: ``{"job_id", "status", "job_type", "project", "notification_id"}`` each.
    """
    found: dict[str, dict[str, Any]] = {}
    for event in _flat(events):
        extra = event.get("extra") if isinstance(event, Mapping) else getattr(event, "extra", None)
        for job in _jobs(extra):
            found.pop(job["job_id"], None)
            found[job["job_id"]] = job
    return list(found.values())


def ended_job_ids(events: Any) -> list[str]:
    """Return the ids of the jobs that asset events report; see :func:`ended_jobs`."""
    return [job["job_id"] for job in ended_jobs(events)]


def jobs_in(extra: Any) -> list[dict[str, Any]]:
    """Return the jobs in the extra of one event."""
    return list(_jobs(extra))


def _flat(events: Any) -> Iterator[Any]:
    if isinstance(events, Mapping):
        for group in events.values():
            yield from group
    elif events is not None:
        yield from events


def _jobs(extra: Any) -> Iterator[dict[str, Any]]:
    body = extra.get("payload") if isinstance(extra, Mapping) else None
    jobs = body.get("jobs") if isinstance(body, Mapping) else None
    for job in jobs if isinstance(jobs, list) else ():
        if isinstance(job, Mapping) and isinstance(job.get("job_id"), str) and job["job_id"]:
            yield dict(job)
