# SPDX-License-Identifier: Apache-2.0
"""
Faults that tests plan, in one queue per operation.

A fault skips ``after`` requests, then hits ``times`` requests (None: all). A request takes the first fault from
the queue of its operation, else from the queue ``any``.
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

#: Queue for every request.
ANY = "any"
#: Queue for every new v2 job.
JOB = "job"
#: Queue for every new v1 generation.
GENERATION = "generation"
#: Queue for every picture uploaded to v1.
TARGET = "target"

#: Faults of an HTTP response, with their parameters. All accept ``done=True``: the request is carried out, and
#: only the response is lost or replaced.
HTTP_KINDS = {
    "status": "respond with code=503, body=None (text or JSON), headers={}",
    "drop": "cut the connection without a response",
    "drop_before": "the same, before the request is carried out",
    "drop_after": "the same, after the request is carried out",
    "delay": "wait seconds=1.0, then respond normally",
    "hang": "do not respond; cut the connection after seconds=3600",
    "truncate": "cut the connection after keep=0.5 of the body; Content-Length announces all of it",
    "truncate_silent": "send keep=0.5 of the body, with a matching Content-Length",
    "flip": "invert the byte at=0.5 of the body",
    "html": "respond 200 with an HTML page",
    "wrong_types": "respond with every JSON value as another type",
    "garbage_json": "respond 200 with incomplete JSON",
    "redirect": "respond code=307 with Location url='http://127.0.0.1:9/'",
    "extra_fields": "add unknown keys to the JSON response",
}

#: Faults of a notification stream, for the operation ``events``. Several kinds can apply to one stream.
STREAM_KINDS = {
    "no_stream": "respond 503 instead of a stream",
    "cut_after": "cut the stream after frames=n frames or seconds=s",
    "silent": "stay open and send nothing",
    "no_live": "send backfill and keepalives, but no live frames",
    "junk": "add frames that are not notifications",
    "half": "cut the stream in the middle of a frame, after frames=1 complete frames",
    "double": "send each frame twice",
    "reorder": "send backfill newest first and reverse live frames that arrive together",
    "crlf": "end lines with CR LF",
    "null_data": "add frames with data: null",
    "foreign": "start with n=1000 notifications of other jobs",
}

#: Faults of a v2 job, for the queue ``job``. Several kinds can apply to one job.
JOB_KINDS = {
    "fail_image": "the images indices=[0] fail; message='...'",
    "fail_job": "the job fails halfway; message='...'",
    "abort_job": "the job is aborted halfway",
    "unknown_status": "the job has status word='archiving' for seconds=0.5",
    "never_end": "the job stays in processing until a test ends it",
    "post_processing_failed": "post-processing fails; message='...'",
    "lose_notifications": "the job sends no notifications; names=[...] drops only these",
    "hostile_filename": "results have the given original_filename and download_filename",
    "hostile_zip": "archives contain entries=['absolute', 'parent', 'symlink', 'bomb', 'duplicate']",
}

#: Faults of a v1 generation, for the queue ``generation``. Several kinds can apply to one generation. All accept
#: ``id_image``, ``id_person`` and ``keyword`` (its value) to select one generation among several.
GENERATION_KINDS = {
    "fail": "it ends with an error notification; message='...'",
    "never_end": "it stays pending until a test ends it",
    "lose_notification": "it ends without a notification",
    "late_notification": "its notification is published seconds=1.0 after its end",
    "double_notification": "its notification is published twice",
    "hostile_links": "its link has n='../../../etc/passwd' as name, and the given l and t",
    "broken_picture": "its link leads to a file that is not a picture",
}

#: Faults of a picture uploaded to v1, for the queue ``target``.
TARGET_KINDS = {"faces": "it has n=31 persons; approve=true, or a list with one value per person"}

#: Faults of the v1 notification list, for ``v1_notifications``. Several kinds can apply to one list.
LIST_KINDS = {
    "foreign": "start with n=100 notifications of other tasks",
    "double": "list each notification twice",
    "reorder": "list the newest first",
    "junk": "start with entries that are not notifications",
    "null_data": "start with a notification whose data is null",
}


@dataclass
class Fault:
    """A planned fault; ``met`` counts how often it happened."""

    operation: str
    kind: str
    times: int | None = 1
    after: int = 0
    path: str | None = None
    done: bool = False
    params: dict[str, Any] = field(default_factory=dict)
    met: int = 0

    def get(self, name: str, default: Any) -> Any:
        """Return a parameter."""
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
    """The planned faults. Safe to use from any thread while the emulator runs."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._queues: dict[str, list[Fault]] = defaultdict(list)
        self._all: list[Fault] = []
        self._operations: set[str] = {ANY, *_QUEUES}

    def know(self, operations: Iterable[str]) -> None:
        """Register the operations that can fail."""
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
        Plan a fault.

        :param operation: Name of an operation, ``any`` for every request, ``job`` for new v2 jobs,
            ``generation`` and ``target`` for new v1 generations and pictures.
        :param kind: A key of :data:`HTTP_KINDS`, :data:`STREAM_KINDS` (events), :data:`JOB_KINDS` (job),
            :data:`GENERATION_KINDS` (generation), :data:`TARGET_KINDS` (target), :data:`LIST_KINDS`
            (v1_notifications).
        :param times: How often it happens; None for always.
        :param after: How many requests to skip first.
        :param path: Apply only to requests whose path contains this text.
        :param done: Carry out the request before the response fails.
        :raises ValueError: Unknown operation, or a kind that the operation does not have.
        """
        if operation not in self._operations:
            raise ValueError(f"unknown operation {operation!r}; known: {', '.join(sorted(self._operations))}")
        kinds = _kinds_of(operation)
        if kind not in kinds:
            raise ValueError(f"{operation} has no fault {kind!r}; known: {', '.join(kinds)}")
        fault = Fault(operation, kind, times, after, path, done or kind == "drop_after", params)
        with self._lock:
            self._queues[operation].append(fault)
            self._all.append(fault)
        return fault

    def take(self, operation: str, path: str = "") -> Fault | None:
        """Return the fault for this request, if any."""
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
        """Return the next fault of each of ``kinds`` for which ``concerns`` is true."""
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
        """Return the faults that have not happened yet; ``times=None`` counts until the first time."""
        with self._lock:
            return [f for f in self._all if not f.spent and not (f.times is None and f.met)]

    def all_met(self) -> bool:
        """Return whether all planned faults have happened."""
        return not self.pending()

    def remove(self, fault: Fault) -> None:
        """Remove one fault."""
        with self._lock:
            if fault in self._queues[fault.operation]:
                self._queues[fault.operation].remove(fault)
            if fault in self._all:
                self._all.remove(fault)

    def clear(self) -> None:
        """Remove all faults."""
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
