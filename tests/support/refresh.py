# SPDX-License-Identifier: Apache-2.0
"""Run the tasks of a refresh in order, with their XCom, without Airflow's processes."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from airflow.providers.common.compat.sdk import AirflowSkipException

from airflow_provider_piktid.operators.base import PaidJobOperator
from airflow_provider_piktid.operators.model_swap import PiktidModelSwapOperator
from airflow_provider_piktid.operators.refresh import (
    PiktidCollectRefreshOperator,
    PiktidPlanRefreshOperator,
    PiktidRefreshSummaryOperator,
)
from airflow_provider_piktid.operators.upload import PiktidUploadImagesOperator
from tests.support.tasks import TaskInstance, TaskRun

XCom = dict[tuple[str, int], dict[str, Any]]


@dataclass
class PullingInstance(TaskInstance):
    """A task instance that can pull the XCom of other tasks in its run."""

    others: XCom = field(default_factory=dict)
    state_of_runs: Callable[[str], str] = lambda _: "failed"

    def get_dagrun_state(self, dag_id: str, run_id: str) -> str:
        return self.state_of_runs(run_id)

    def xcom_pull(self, task_ids: str, key: str = "return_value", map_indexes: int = -1) -> Any:
        return self.others.get((task_ids, map_indexes), {}).get(key)


@dataclass
class PullingRun(TaskRun):
    """A task run with outlet events."""

    outlet_events: dict[Any, Any] = field(default_factory=dict)

    @property
    def context(self) -> dict[str, Any]:
        return {**super().context, "outlet_events": self.outlet_events}


@dataclass
class Night:
    """One run: the XCom of all tasks, the batches, the errors and the asset event."""

    xcom: XCom = field(default_factory=dict)
    batches: list[str] = field(default_factory=list)
    errors: list[BaseException] = field(default_factory=list)
    event: dict[str, Any] | None = None

    @property
    def planned(self) -> dict[str, Any]:
        return dict(self.xcom["plan", -1]["summary"])

    @property
    def told(self) -> dict[str, Any]:
        return dict(self.xcom["summary", -1]["return_value"])


class Nights:
    """
    A refresh that can run several times.

    :param source: Folder or prefix of the sources.
    :param output: Folder or prefix of the outputs.
    :param operator: Operator that submits the jobs.
    :param plan: Arguments of the plan. Its ``options`` are also arguments of the operator.
    """

    def __init__(
        self,
        source: str,
        output: str,
        *,
        dag_id: str = "nightly",
        operator: type[PaidJobOperator] = PiktidModelSwapOperator,
        **plan: Any,
    ) -> None:
        self.source, self.output, self.dag_id, self.plan = source, output, dag_id, plan
        self.operator = operator
        self.count = 0
        #: Airflow's answer to the state of a DAG run; a killed one has failed.
        self.state_of_runs: Callable[[str], str] = lambda run_id: "failed"

    @property
    def _identity(self) -> dict[str, Any]:
        return {"identity_code": "PiktidSummer"} if "identity_code" in self.operator.template_fields else {}

    def run(self, *, swap: dict[str, Any] | None = None, **plan: Any) -> Night:
        """Run plan, batches and summary; a batch that fails stops no other."""
        night = self.begin(**plan)
        self.finish(night, swap=swap)
        return night

    def finish(self, night: Night, *, swap: dict[str, Any] | None = None) -> None:
        """Run what follows the plan of a run."""
        late = night.xcom["plan", -1]["late"]
        self.step(night, "late", -1, self._collect("late", batch=late))
        for index in range(len(night.batches)):
            self.batch(night, index, swap or {})
        self.summarize(night)

    def begin(self, **plan: Any) -> Night:
        """Run the plan of a new run and raise its errors."""
        self.count += 1
        night = Night()
        arguments = {"source": self.source, "output_path": self.output, "job_type": self.operator.job_type}
        options = arguments | self._identity | self.plan | plan
        self.step(night, "plan", -1, lambda: PiktidPlanRefreshOperator(task_id="plan", **options))
        if night.errors:
            raise night.errors[0]
        night.batches = night.xcom["plan", -1]["return_value"]
        return night

    def batch(self, night: Night, index: int, swap: dict[str, Any]) -> None:
        """Run upload, swap and collect of one batch."""
        uri = night.batches[index]
        upload = self.step(
            night,
            "upload",
            index,
            lambda: PiktidUploadImagesOperator(
                task_id="upload", images=uri, project_name="nightly", record_beside=uri
            ),
        )
        if upload is not None:
            fixed: dict[str, Any] = {"deferrable": True, "poll_interval": 3.0}
            more = {
                "project_id": upload["project_id"],
                "images": upload["images"],
                "record_beside": uri,
            }
            arguments = self._identity | fixed | more | self.plan.get("options", {}) | swap
            self.step(night, "swap", index, lambda: self.operator(task_id="swap", **arguments))
        self.step(
            night,
            "collect",
            index,
            self._collect("collect", batch=uri, upload_task_id="upload", swap_task_id="swap"),
        )

    def summarize(self, night: Night, **summary: Any) -> None:
        """Run the summary; its asset event is stored in ``night.event``."""
        outlet, events = "asset", {"asset": SimpleNamespace(extra=None)}

        def make() -> PiktidRefreshSummaryOperator:
            fixed: dict[str, Any] = {
                "plan_task_id": "plan",
                "output_path": self.output,
                "skip_unchanged": False,
            }
            operator = PiktidRefreshSummaryOperator(task_id="summary", **(fixed | summary))
            operator.outlets = [outlet]
            return operator

        self.step(night, "summary", -1, make, events)
        night.event = events[outlet].extra

    def step(
        self, night: Night, task_id: str, index: int, make: Any, outlet_events: dict[str, Any] | None = None
    ) -> Any:
        """Run one task and store its XCom, also if it failed."""
        ti = PullingInstance(
            dag_id=self.dag_id,
            task_id=task_id,
            run_id=f"night-{self.count}",
            map_index=index,
            others=night.xcom,
            state_of_runs=self.state_of_runs,
        )
        run = PullingRun(make, ti=ti, outlet_events=outlet_events or {})
        result = None
        try:
            result = run.run()
        except AirflowSkipException:
            pass
        except Exception as error:  # noqa: BLE001 - the scheduler goes on too
            night.errors.append(error)
        left = {"return_value": json.loads(json.dumps(result))} if result is not None else {}
        if isinstance(result, dict):
            left |= result
        night.xcom[task_id, index] = {**ti.xcom, **left}
        return result

    def _collect(self, task_id: str, **arguments: Any) -> Any:
        return lambda: PiktidCollectRefreshOperator(task_id=task_id, output_path=self.output, **arguments)


class KeptNights(Nights):
    """A refresh whose XCom survives its process: tasks that have ended are not run again, as in a retry."""

    kept: Path

    def step(self, night: Night, task_id: str, index: int, *arguments: Any) -> Any:
        done = json.loads(self.kept.read_text()) if self.kept.exists() else {}
        name = f"{task_id} {index}"
        if name in done:
            night.xcom[task_id, index] = done[name]
            return done[name].get("return_value")
        errors = len(night.errors)
        result = super().step(night, task_id, index, *arguments)
        if len(night.errors) == errors:
            self.kept.write_text(json.dumps({**done, name: night.xcom[task_id, index]}))
        return result
