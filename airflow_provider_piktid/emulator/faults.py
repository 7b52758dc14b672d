# SPDX-License-Identifier: Apache-2.0
"""
Planned failures: a queue per operation.

A fault waits in the queue of its operation until ``after`` requests have passed it, happens ``times`` times
(None: always), and leaves. Requests look at the queue of their operation first, then at the queue ``any``.
"""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

__all__ = [
    "ANY",
    "GENERATION",
    "GENERATION_KINDS",
    "HTTP_KINDS",
    "JOB",
    "JOB_KINDS",
    "LIST_KINDS",
    "STREAM_KINDS",
    "TARGET",
    "TARGET_KINDS",
    "Fault",
    "Faults",
]

#: Queue that every request looks at.
ANY = "any"
#: Queue that every new job looks at.
JOB = "job"
#: Queue that every new generation of v1 looks at.
GENERATION = "generation"
#: Queue that every picture uploaded to v1 looks at.
TARGET = "target"

#: Failures of an HTTP answer, with their parameters. All take ``done=True``: the work is done first, only
#: the answer is lost or replaced.
HTTP_KINDS = {
    "status": "answer with code=503, body=None (text or JSON), headers={}",
    "drop": "cut the connection without an answer",
    "drop_before": "the same, nothing done",
    "drop_after": "the same, everything done",
    "delay": "wait seconds=1.0, then go on as usual",
    "hang": "never answer; the connection is cut after seconds=3600",
    "truncate": "cut the connection in the middle of the body; Content-Length promises more; keep=0.5",
    "truncate_silent": "send only the first keep=0.5 of the body, with a Content-Length that agrees",
    "html": "answer 200 with an HTML page",
    "wrong_types": "answer with each JSON value of another type",
    "garbage_json": "answer 200 with something that starts like JSON",
    "redirect": "answer code=307 with Location url='http://127.0.0.1:9/'",
    "extra_fields": "add unknown keys to the JSON answer",
}

#: Failures of a notification stream, for the operation ``events``. Several kinds can hit one stream.
STREAM_KINDS = {
    "no_stream": "answer 503 instead of a stream",
    "cut_after": "cut the stream after frames=n frames or seconds=s",
    "silent": "stay open and send nothing at all",
    "no_live": "send backfill and keepalives, but never a live frame",
    "junk": "mix in frames that are no notifications",
    "half": "end the stream in the middle of a frame, after frames=1 whole ones",
    "double": "send each frame twice",
    "reorder": "send backfill newest first and swap neighbouring live frames",
    "crlf": "end lines with CR LF",
    "null_data": "mix in frames with data: null",
    "foreign": "start with n=1000 notifications of other jobs",
}

#: Failures of a job, for the queue ``job``. Several kinds can hit one job.
JOB_KINDS = {
    "fail_image": "these images fail: indices=[0]; message='...'",
    "fail_job": "the job fails half-way; message='...'",
    "abort_job": "the job is aborted half-way",
    "unknown_status": "the job shows status word='archiving' for seconds=0.5",
    "never_end": "the job stays processing until it is ended by hand",
    "post_processing_failed": "post-processing fails; message='...'",
    "lose_notifications": "the job sends no notification; names=[...] loses only these",
    "hostile_filename": "results carry original_filename and download_filename as given",
    "hostile_zip": "archives hold entries=['absolute', 'parent', 'symlink', 'bomb', 'duplicate']",
}

#: Failures of a generation of v1, for the queue ``generation``. Several kinds can hit one generation. All take
#: ``id_image``, ``id_person`` and ``keyword`` (its value) to mean one generation among several.
GENERATION_KINDS = {
    "fail": "it ends with an error notification; message='...'",
    "never_end": "it stays pending until it is ended by hand",
    "lose_notification": "it ends without a notification",
    "late_notification": "its notification comes seconds=1.0 after its end",
    "double_notification": "its notification comes twice",
    "hostile_links": "its link has the name n='../../../etc/passwd', and l and t as given",
    "broken_picture": "what is behind its link is no picture",
}

#: Strange pictures, for the queue ``target``.
TARGET_KINDS = {"faces": "it shows n=31 persons; approve=true, or a list with one value for each"}

#: Failures of the list of notifications of v1, for ``v1_notifications``. Several kinds can hit one list.
LIST_KINDS = {
    "foreign": "start with n=100 notifications of others",
    "double": "list each notification twice",
    "reorder": "list the newest first",
    "junk": "start with entries that are no notifications",
    "null_data": "start with a notification whose data is null",
}


@dataclass
class Fault:
    """One planned failure; ``met`` counts how often it happened."""

    operation: str
    kind: str
    times: int | None = 1
    after: int = 0
    path: str | None = None
    done: bool = False
    params: dict[str, Any] = field(default_factory=dict)
    met: int = 0

    def get(self, name: str, default: Any) -> Any:
        """Return a parameter of the kind."""
        return self.params.get(name, default)

    @property
    def spent(self) -> bool:
        return self.times is not None and self.met >= self.times

    def as_dict(self) -> dict[str, Any]:
        return {
            "operation": self.operation,
            "kind": self.kind,
            "times": self.times,
            "after": self.after,
            "path": self.path,
            "done": self.done,
            "met": self.met,
            **self.params,
        }


class Faults:
    """The plan. Safe to use from any thread while the emulator runs."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._queues: dict[str, list[Fault]] = defaultdict(list)
        self._all: list[Fault] = []
        self._operations: set[str] = {ANY, *_QUEUES}

    def know(self, operations: Iterable[str]) -> None:
        """Name the operations that can fail."""
        self._operations.update(operations)

    def add(
        self,
        operation: str,
        kind: str,
        *,
        times: int | None = 1,
        after: int = 0,
        path: str | None = None,
        done: bool = False,
        **params: Any,
    ) -> Fault:
        """
        Plan a failure.

        :param operation: Name of an operation, ``any`` for every request, ``job`` for new jobs, ``generation``
            and ``target`` for new generations and pictures of v1.
        :param kind: A key of :data:`HTTP_KINDS`, :data:`STREAM_KINDS` (events), :data:`JOB_KINDS` (job),
            :data:`GENERATION_KINDS` (generation), :data:`TARGET_KINDS` (target), :data:`LIST_KINDS`
            (v1_notifications).
        :param times: How often it happens; None for always.
        :param after: How many requests pass unharmed first.
        :param path: Only requests whose path contains this text.
        :param done: The work is done before the answer fails.
        :raises ValueError: Unknown operation or kind, or a kind that does not fit the operation.
        """
        if operation not in self._operations:
            raise ValueError(f"unknown operation {operation!r}; known: {', '.join(sorted(self._operations))}")
        kinds = _kinds_of(operation)
        if kind not in kinds:
            raise ValueError(f"{operation} cannot fail by {kind!r}; known: {', '.join(kinds)}")
        fault = Fault(operation, kind, times, after, path, done or kind == "drop_after", params)
        with self._lock:
            self._queues[operation].append(fault)
            self._all.append(fault)
        return fault

    def take(self, operation: str, path: str = "") -> Fault | None:
        """Return the fault that hits this request, if any."""
        with self._lock:
            for name in (operation, ANY):
                for fault in self._queues[name]:
                    if fault.kind not in HTTP_KINDS:
                        continue
                    if fault.path is not None and fault.path not in path:
                        continue
                    if self._hits(fault):
                        return fault
                    break
        return None

    def take_each(
        self, operation: str, kinds: Iterable[str], concerns: Callable[[Fault], bool] = lambda fault: True
    ) -> dict[str, Fault]:
        """Return the next due fault of each of ``kinds`` that ``concerns`` the case."""
        hits: dict[str, Fault] = {}
        with self._lock:
            for kind in kinds:
                fault = next((f for f in self._queues[operation] if f.kind == kind and concerns(f)), None)
                if fault is not None and self._hits(fault):
                    hits[kind] = fault
        return hits

    def _hits(self, fault: Fault) -> bool:
        if fault.after > 0:
            fault.after -= 1
            return False
        fault.met += 1
        if fault.spent:
            self._queues[fault.operation].remove(fault)
        return True

    def pending(self) -> list[Fault]:
        """Return faults that have still to happen; those without end count until they happened once."""
        with self._lock:
            return [f for f in self._all if not f.spent and not (f.times is None and f.met)]

    def all_met(self) -> bool:
        """Tell whether everything planned has happened."""
        return not self.pending()

    def remove(self, fault: Fault) -> None:
        """Take a fault out of the plan."""
        with self._lock:
            if fault in self._queues[fault.operation]:
                self._queues[fault.operation].remove(fault)
            if fault in self._all:
                self._all.remove(fault)

    def clear(self) -> None:
        """Forget the plan."""
        with self._lock:
            self._queues.clear()
            self._all.clear()

    def as_list(self) -> list[dict[str, Any]]:
        with self._lock:
            return [fault.as_dict() for fault in self._all]


def _kinds_of(operation: str) -> dict[str, str]:
    return _QUEUES.get(operation) or {**HTTP_KINDS, **_MORE.get(operation, {})}


_QUEUES = {JOB: JOB_KINDS, GENERATION: GENERATION_KINDS, TARGET: TARGET_KINDS}
_MORE = {"events": STREAM_KINDS, "v1_notifications": LIST_KINDS}
