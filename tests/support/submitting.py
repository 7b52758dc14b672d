# SPDX-License-Identifier: Apache-2.0
"""A service with planned responses to submissions, without HTTP."""

from __future__ import annotations

import copy
import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from airflow_provider_piktid.common.paid import PaidRequests, Terms
from airflow_provider_piktid.exceptions import PiktidRecordError, PiktidSubmissionError
from airflow_provider_piktid.jobs.queue import AccountLimits
from airflow_provider_piktid.jobs.submission import JobPort, JobRecord, Submission, plan

#: The initial time of the clock, in epoch seconds.
START = 1_000_000.0
#: The error after a lost reply.
LOST = PiktidSubmissionError("the reply was lost.")


@dataclass
class Service:
    """Returns planned responses and logs every call, including writes of the record."""

    answers: list[str | Exception] = field(default_factory=list)
    listed: dict[tuple[str, ...], str] = field(default_factory=dict)
    done: dict[str, str] = field(default_factory=dict)
    log: list[tuple[Any, ...]] = field(default_factory=list)
    bought: list[tuple[str, ...]] = field(default_factory=list)

    def submit(self, images: list[str]) -> str:
        self.log.append(("submit", tuple(images)))
        answer = self.answers.pop(0) if self.answers else f"job-{len(self.bought) + 1}"
        if isinstance(answer, Exception):
            raise answer
        self.bought.append(tuple(images))
        return answer

    def find(self, images: list[str], since: float, known: set[str]) -> str | None:
        self.log.append(("find", since, frozenset(known)))
        found = self.listed.get(tuple(images))
        return None if found in known else found

    def ended(self, job_id: str) -> str | None:
        self.log.append(("ended", job_id))
        return self.done.get(job_id)

    def calls(self, name: str) -> list[tuple[Any, ...]]:
        return [entry for entry in self.log if entry[0] == name]


class World:
    """A record, its service, a clock that only the test moves, and the saved record."""

    def __init__(self, images: int = 1, per_job: int = 1, service: Service | None = None) -> None:
        self.images = [f"file-{n}" for n in range(images)]
        self.service = service or Service()
        self.now = START
        counts = [min(per_job, images - start) for start in range(0, images, per_job)]
        self.record = plan(counts, fingerprint="f", now=START)
        self.saved: JobRecord | None = None
        self.refuse_saves: Callable[[int], bool] = lambda count: False
        self._saves = 0

    def save(self) -> None:
        self._saves += 1
        if self.refuse_saves(self._saves):
            raise PiktidRecordError("the store is away")
        self.saved = copy.deepcopy(self.record)
        self.service.log.append(("save", *(item.state for item in self.record.submissions)))

    def batch(self, *, limits: AccountLimits | None = None, **terms: Any) -> PaidRequests[Submission]:
        port = JobPort(
            self.record,
            self.images,
            self.service,
            limits or AccountLimits(),
            connection="piktid_test",
            noun="model swap",
            log=logging.getLogger(__name__),
            clock=lambda: self.now,
        )
        return PaidRequests(
            self.record.submissions,
            port,
            Terms(connection="piktid_test", **terms),
            save=self.save,
            clock=lambda: self.now,
        )

    def crash(self) -> None:
        """Discard everything except the saved record."""
        assert self.saved is not None
        self.record = copy.deepcopy(self.saved)

    @property
    def states(self) -> list[str]:
        return [item.state for item in self.record.submissions]
