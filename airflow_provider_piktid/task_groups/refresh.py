# SPDX-License-Identifier: Apache-2.0
"""Refresh a catalogue as one group of tasks."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Final

from airflow.providers.common.compat.sdk import Asset, BaseOperator, TaskGroup, TriggerRule, task_group

from airflow_provider_piktid.get_provider_info import PROJECT_NAME_LENGTH
from airflow_provider_piktid.hooks.piktid import PiktidHook
from airflow_provider_piktid.operators.base import PaidJobOperator
from airflow_provider_piktid.operators.model_swap import PiktidModelSwapOperator
from airflow_provider_piktid.operators.refresh import (
    PiktidCollectRefreshOperator,
    PiktidPlanRefreshOperator,
    PiktidRefreshSummaryOperator,
)
from airflow_provider_piktid.operators.upload import PiktidUploadImagesOperator
from airflow_provider_piktid.refresh.arguments import check_no_file_ids
from airflow_provider_piktid.refresh.groups import check_group_by
from airflow_provider_piktid.retries import RETRIES

#: One project for all runs of a DAG.
PROJECT = f"{{{{ dag.dag_id[:{PROJECT_NAME_LENGTH}] }}}}"

#: Uploads of a run at once: two deliver more than PiktID takes in jobs, and leave worker slots to the first swaps.
UPLOADS_AT_ONCE = 2

#: Arguments of an operator that the group sets.
_OF_THE_GROUP: Final = {
    "task_id",
    "identity_code",
    "project_id",
    "images",
    "record_beside",
    "reuse",
    "rerun_key",
}


def piktid_refresh(
    *,
    source: str,
    output_path: str,
    identity_code: str | None = None,
    operator: type[PaidJobOperator] = PiktidModelSwapOperator,
    arguments: Mapping[str, Any] | None = None,
    group_id: str = "piktid_refresh",
    swap: Mapping[str, Any] | None = None,
    plan: Mapping[str, Any] | None = None,
    summary: Mapping[str, Any] | None = None,
    group_by: str | None = None,
    exclude: str | Sequence[str] = (),
    max_images: int | str | None = None,
    images_per_batch: int | None = None,
    rerun_key: str | None = None,
    dry_run: bool | str = False,
    prune: bool = False,
    rebuild_missing: bool | str = False,
    fail_on_partial: bool = False,
    project_name: str = PROJECT,
    asset: Asset | None = None,
    default_args: Mapping[str, Any] | None = None,
    piktid_conn_id: str = PiktidHook.default_conn_name,
) -> TaskGroup:
    """
    Swap the new and changed images of a catalogue, or submit them as jobs of another type, and record the outputs.

    Tasks: ``plan``, then ``upload``, ``swap`` (``jobs`` with another operator) and ``collect`` for each batch, then
    ``summary``. A batch that fails does not stop the others; the next run processes it again. Allow only one active
    run of the DAG (``max_active_runs=1``): the plan of a second one fails while the first one works. Every task is
    retried three times, after 2 to 4, 4 to 8 and 8 to 16 minutes, and later tasks of a batch start before earlier ones
    of another (``weight_rule="upstream"``), unless ``default_args`` of the DAG or the group say otherwise. Two uploads
    run at once.

    :param source: Folder, prefix or glob of images; templated.
    :param output_path: Folder or prefix of outputs and catalogue, used by this refresh only; templated.
    :param identity_code: Identity to swap in, or that wears the garments. Default: none, for operators without one.
    :param operator: Operator that submits the jobs, such as ``PiktidPackshotOperator``. One that combines images gets
        each source as a job of its own. Default: ``PiktidModelSwapOperator``.
    :param arguments: Arguments of ``operator``, such as ``{"reference_text": "navy", "timeout": 7200}``. Default:
        ``{"deferrable": True}``.
    :param group_id: Name of the group, and prefix of its task ids. Default: ``piktid_refresh``.
    :param swap: The same as ``arguments``, for the model swap. Default: none.
    :param plan: More arguments of ``PiktidPlanRefreshOperator``. Default: none.
    :param summary: More arguments of ``PiktidRefreshSummaryOperator``. Default: none.
    :param group_by: Make sources of several images, for operators that combine them: ``folder``, each folder below
        ``source`` that has images; or a regular expression for paths below ``source``, whose group in parentheses is
        what the images of a source share, such as ``"(.+)_[0-9]+[.]jpg"``. Default: none, each image is a source.
    :param exclude: Glob patterns of sources to skip, or of images of a group. Default: none.
    :param max_images: Maximum number of sources that one run submits; the rest is submitted later, oldest first.
        Default: no limit.
    :param images_per_batch: Sources in one batch. Default: as many as the account can have in its active jobs, 50.
    :param rerun_key: Any text; another value makes every output again. Default: none.
    :param dry_run: Log what would be done and its cost, and submit nothing. Default: False.
    :param prune: Remove outputs whose source no longer exists. Default: False.
    :param rebuild_missing: Buy outputs again that somebody removed from ``output_path`` and that PiktID no longer has.
        Default: False, report them.
    :param fail_on_partial: Fail ``summary`` if a single source has no output. Default: False, fail if no source has
        one.
    :param project_name: Project of the uploads. Default: the id of the DAG.
    :param asset: Outlet of ``summary``; its event contains the catalogue and counts. Default: the URI of
        ``output_path``; none if that is a template.
    :param default_args: Arguments of every task of the group, such as ``{"retries": 1}``; they take precedence over
        those of the DAG. Default: none.
    :param piktid_conn_id: Connection id. Default: ``piktid_default``.
    :return: The group: ``extract >> piktid_refresh(...) >> publish``.
    :raises ValueError: The arguments do not fit the operator.
    """
    options = _options(operator, identity_code, swap, arguments)
    check_group_by(group_by)
    outlet = asset or default_asset(output_path)
    shared: dict[str, Any] = {"output_path": output_path, "piktid_conn_id": piktid_conn_id}
    defaults: Any = dict(default_args or {})
    with TaskGroup(group_id, default_args=defaults) as group:
        _add_defaults(group)
        planned = PiktidPlanRefreshOperator(
            task_id="plan",
            source=source,
            identity_code=identity_code,
            options=options,
            job_type=operator.job_type,
            group_by=group_by,
            exclude=exclude,
            max_images=max_images,
            images_per_batch=images_per_batch,
            rerun_key=rerun_key,
            dry_run=dry_run,
            prune=prune,
            rebuild_missing=rebuild_missing,
            **shared,
            **(plan or {}),
        )
        late = PiktidCollectRefreshOperator(task_id="late", batch=_key(planned, "late"), **shared)
        identity: dict[str, Any] = {} if identity_code is None else {"identity_code": identity_code}
        work = partial(operator, rerun_key=rerun_key, **identity, **options)
        batches = _batch(operator, work, project_name=project_name, **shared).expand(batch=planned.output)
        sums = PiktidRefreshSummaryOperator(
            task_id="summary",
            plan_task_id=planned.task_id,
            output_path=output_path,
            fail_on_partial=fail_on_partial,
            trigger_rule=TriggerRule.ALL_DONE,
            outlets=[outlet] if outlet else [],
            **(summary or {}),
        )
        [planned, late, batches] >> sums
    return group


def _options(
    operator: type[PaidJobOperator],
    identity_code: str | None,
    swap: Mapping[str, Any] | None,
    arguments: Mapping[str, Any] | None,
) -> dict[str, Any]:
    """
    Return the arguments of the operator.

    :raises ValueError: They do not fit it.
    """
    if not (isinstance(operator, type) and issubclass(operator, PaidJobOperator)):
        raise ValueError(
            f"piktid_refresh: `operator` must be a class such as PiktidPackshotOperator, not {operator!r}."
        )
    name = operator.__name__
    if swap and (arguments or operator is not PiktidModelSwapOperator):
        raise ValueError(f"piktid_refresh: `swap` is for the model swap alone. Use `arguments` for {name}.")
    takes_identity = "identity_code" in operator.template_fields
    if takes_identity != (identity_code is not None):
        problem = "needs an `identity_code`" if takes_identity else "takes no `identity_code`"
        raise ValueError(f"piktid_refresh: {name} {problem}.")
    options = {"deferrable": True, **(swap or arguments or {})}
    if own := sorted(_OF_THE_GROUP & set(options)):
        raise ValueError(
            f"piktid_refresh sets {', '.join(own)} itself. Remove it from the arguments of {name}."
        )
    check_no_file_ids(options)
    return options


def _add_defaults(group: TaskGroup) -> None:
    """
    Set retries and the order of the tasks, where neither the DAG nor the group says how.

    Airflow's own order starts all uploads before the first swap, so that PiktID is idle meanwhile.
    """
    given = {**group.dag.default_args, **group.default_args}
    order = {} if {"weight_rule", "priority_weight"} & set(given) else {"weight_rule": "upstream"}
    group.default_args = _retries(given) | order | group.default_args


def _retries(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments for retries that are not given; who sets a delay need not want it to grow."""
    settled = {*given, "retry_exponential_backoff"} if "retry_delay" in given else given
    return {name: value for name, value in RETRIES.items() if name not in settled}


def _batch(
    operator: type[PaidJobOperator],
    work: Callable[..., PaidJobOperator],
    *,
    project_name: str,
    output_path: str,
    piktid_conn_id: str,
) -> Any:
    """
    Return the task group that is mapped over the batches.

    :param work: Makes the operator with the arguments that are the same for all batches.
    """

    @task_group(group_id="batch")
    def batch_group(batch: str) -> None:
        upload = PiktidUploadImagesOperator(
            task_id="upload",
            images=batch,
            project_name=project_name,
            record_beside=batch,
            max_active_tis_per_dagrun=UPLOADS_AT_ONCE,
            piktid_conn_id=piktid_conn_id,
            # Not `task`, which on Airflow 3.0 is the task before its templates are rendered.
            map_index_template="{{ ti.task.images.rpartition('/')[2] }}",
        )
        submitted = work(
            task_id="swap" if operator is PiktidModelSwapOperator else "jobs",
            project_id=_key(upload, "project_id"),
            images=_key(upload, "images"),
            record_beside=batch,
            piktid_conn_id=piktid_conn_id,
        )
        collect = PiktidCollectRefreshOperator(
            task_id="collect",
            batch=batch,
            output_path=output_path,
            upload_task_id=upload.task_id,
            swap_task_id=submitted.task_id,
            piktid_conn_id=piktid_conn_id,
            trigger_rule=TriggerRule.ALL_DONE,
        )
        submitted >> collect

    return batch_group


def _key(operator: BaseOperator, key: str) -> Any:
    output: Any = operator.output
    return output[key]


def default_asset(output_path: str) -> Asset | None:
    """
    Return the output as an asset, without the connection id; None if it is a template.

    Other DAGs can be scheduled on ``Asset("s3://bucket/prefix")`` with the same URI.
    """
    if "{{" in output_path or "{%" in output_path:
        return None
    protocol, separator, rest = output_path.partition("://")
    if not separator:
        return Asset(f"file://{output_path.rstrip('/')}")
    netloc, slash, key = rest.partition("/")
    return Asset(f"{protocol}://{netloc.rpartition('@')[2]}{slash}{key}".rstrip("/"))
