# SPDX-License-Identifier: Apache-2.0
"""The refresh task group: its tasks, their order, and its asset."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import DAG, Asset, BaseOperator, TaskGroup

from airflow_provider_piktid.operators.packshot import PiktidPackshotOperator
from airflow_provider_piktid.operators.recolor import PiktidGarmentRecolorOperator
from airflow_provider_piktid.task_groups.refresh import default_asset, piktid_refresh

START = datetime(2026, 1, 1, tzinfo=UTC)


def dag_with(dag_args: dict[str, Any] | None = None, **arguments: Any) -> DAG:
    fixed: dict[str, Any] = {
        "source": "s3://shop/in",
        "output_path": "s3://shop/out",
        "identity_code": "PiktidSummer",
    }
    with DAG("shop", schedule=None, start_date=START, default_args=dag_args or {}) as dag:
        extract, publish = BaseOperator(task_id="extract"), BaseOperator(task_id="publish")
        extract >> piktid_refresh(**(fixed | arguments)) >> publish
    return dag


def test_group_can_be_placed_between_tasks() -> None:
    """An upstream task precedes the plan, and a downstream task follows the summary."""
    dag = dag_with()

    assert dag.get_task("extract").downstream_task_ids == {"piktid_refresh.plan"}
    assert dag.get_task("publish").upstream_task_ids == {"piktid_refresh.summary"}


def test_batch_tasks_run_in_order() -> None:
    """In each batch upload, swap and collect run in this order, followed by the summary."""
    dag = dag_with()

    assert dag.get_task("piktid_refresh.batch.upload").downstream_task_ids >= {"piktid_refresh.batch.swap"}
    assert dag.get_task("piktid_refresh.batch.swap").downstream_task_ids == {"piktid_refresh.batch.collect"}
    assert dag.get_task("piktid_refresh.batch.collect").downstream_task_ids == {"piktid_refresh.summary"}


def test_two_groups_fit_in_one_dag() -> None:
    """Two groups with different ``group_id`` can be part of one DAG."""
    with DAG("shop", schedule=None, start_date=START) as dag:
        for name in ("a", "b"):
            piktid_refresh(group_id=name, source="/in", output_path=f"/out-{name}", identity_code=name)

    assert {"a.plan", "b.plan", "a.summary", "b.batch.swap"} <= set(dag.task_ids)


def test_swap_arguments_are_passed_to_swap_and_plan() -> None:
    """``swap`` and ``rerun_key`` are passed to the swap and the plan; the swap is deferrable by default."""
    dag = dag_with(swap={"num_variations": 2, "timeout": 7200}, rerun_key="spring")

    plan: Any = dag.get_task("piktid_refresh.plan")
    swap: Any = dag.get_task("piktid_refresh.batch.swap")
    assert plan.options == {"deferrable": True, "num_variations": 2, "timeout": 7200}
    assert (swap.num_variations, swap.timeout, swap.deferrable) == (2, 7200, True)
    assert (plan.rerun_key, swap.rerun_key) == ("spring", "spring")


def test_operator_of_another_type_is_used() -> None:
    """Another operator gets ``arguments``, the images with their groups, and no identity; its task is ``jobs``."""
    dag = dag_with(
        identity_code=None,
        operator=PiktidPackshotOperator,
        arguments={"instructions": [{"style": "free"}], "timeout": 60},
        rerun_key="spring",
    )

    plan: Any = dag.get_task("piktid_refresh.plan")
    packshots: Any = dag.get_task("piktid_refresh.batch.jobs")
    assert (plan.job_type, plan.identity_code) == (PiktidPackshotOperator.job_type, None)
    assert plan.options == {"deferrable": True, "instructions": [{"style": "free"}], "timeout": 60}
    assert isinstance(packshots, PiktidPackshotOperator)
    assert (packshots.instructions, packshots.timeout, packshots.rerun_key) == (
        [{"style": "free"}],
        60,
        "spring",
    )
    assert packshots.downstream_task_ids == {"piktid_refresh.batch.collect"}


PACKSHOTS: dict[str, Any] = {
    "identity_code": None,
    "operator": PiktidPackshotOperator,
    "arguments": {"instructions": [{"style": "free"}]},
}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        pytest.param({"identity_code": None}, "needs an `identity_code`", id="swap without identity"),
        pytest.param(
            PACKSHOTS | {"identity_code": "a"}, "takes no `identity_code`", id="packshot with identity"
        ),
        pytest.param(PACKSHOTS | {"swap": {"timeout": 1}}, "Use `arguments` for", id="swap of a packshot"),
        pytest.param({"swap": {"timeout": 1}, "arguments": {"timeout": 2}}, "Use `arguments`", id="both"),
        pytest.param({"operator": BaseOperator}, "must be a class such as", id="another operator"),
        pytest.param({"operator": "PiktidPackshotOperator"}, "must be a class such as", id="a name"),
        pytest.param({"arguments": {"images": []}}, "sets images itself", id="argument of the group"),
        pytest.param(
            {
                "identity_code": None,
                "operator": PiktidGarmentRecolorOperator,
                "arguments": {"reference_image": "id"},
            },
            "reference_image needs file ids",
            id="reference image",
        ),
    ],
)
def test_arguments_that_do_not_fit_the_operator_fail_the_dag_file(
    arguments: dict[str, Any], words: str
) -> None:
    """Arguments that do not fit the operator are reported when the DAG file is parsed."""
    with pytest.raises(ValueError, match=words):
        dag_with(**arguments)


@pytest.mark.parametrize(
    ("output_path", "uri"),
    [
        ("s3://bucket/summer", "s3://bucket/summer"),
        ("s3://aws_default@bucket/summer/", "s3://bucket/summer"),
        ("/data/out", "file:///data/out"),
        ("file:///data/out", "file:///data/out"),
    ],
)
def test_asset_is_named_after_the_output(output_path: str, uri: str) -> None:
    """The default asset's URI is ``output_path`` without the connection id."""
    asset = default_asset(output_path)

    assert asset is not None
    assert asset.uri.rstrip("/") == uri


def test_templated_output_path_has_no_default_asset() -> None:
    """A templated ``output_path`` has no default asset; ``asset`` sets one."""
    assert default_asset("{{ params.out }}") is None
    summary: Any = dag_with(output_path="{{ params.out }}").get_task("piktid_refresh.summary")
    assert summary.outlets == []
    given: Any = dag_with(output_path="{{ params.out }}", asset=Asset("s3://a/b")).get_task(
        "piktid_refresh.summary"
    )
    assert [outlet.uri for outlet in given.outlets] == ["s3://a/b"]


Retries = tuple[int | None, timedelta, bool]
TASKS = ("plan", "batch.upload", "batch.swap", "batch.collect", "late", "summary")


def retries(dag: DAG) -> dict[str, Retries]:
    """Return the number of retries, the delay and whether it grows, of each task of the group."""
    tasks = {name: dag.get_task(f"piktid_refresh.{name}") for name in TASKS}
    return {
        name: (task.retries, task.retry_delay, bool(task.retry_exponential_backoff))
        for name, task in tasks.items()
    }


OURS: Retries = (3, timedelta(minutes=2), True)


@pytest.mark.parametrize(
    ("dag_args", "group_args", "expected"),
    [
        pytest.param({}, {}, OURS, id="nothing is said"),
        pytest.param({"retries": 0}, {}, (0, timedelta(minutes=2), True), id="number of the DAG"),
        pytest.param({"retry_delay": timedelta(5)}, {}, (3, timedelta(5), False), id="delay of the DAG"),
        pytest.param(
            {"retry_delay": timedelta(5), "retry_exponential_backoff": True},
            {},
            (3, timedelta(5), True),
            id="delay of the DAG that grows",
        ),
        pytest.param(
            {"retry_exponential_backoff": False}, {}, (3, timedelta(minutes=2), False), id="delay stays"
        ),
        pytest.param({"retries": 9}, {"retries": 1}, (1, timedelta(minutes=2), True), id="group before DAG"),
        pytest.param({"owner": "shop"}, {"pool": "p"}, OURS, id="something else is said"),
    ],
)
def test_tasks_are_retried_unless_the_author_says_otherwise(
    dag_args: dict[str, Any], group_args: dict[str, Any], expected: Retries
) -> None:
    """Every task has three retries with growing delays; ``default_args`` of DAG and group take precedence."""
    found = retries(dag_with(dag_args, default_args=group_args))

    assert found == dict.fromkeys(TASKS, expected)


def test_retries_of_an_outer_group_count() -> None:
    """``default_args`` of a task group around the refresh take precedence too."""
    arguments: Any = {"retries": 7}
    with DAG("shop", schedule=None, start_date=START) as dag, TaskGroup("outer", default_args=arguments):
        piktid_refresh(source="/in", output_path="/out", identity_code="a")

    assert {task.retries for task in dag.tasks} == {7}


def test_retries_of_one_task() -> None:
    """Arguments of one task take precedence over all ``default_args``."""
    found = retries(dag_with({"retries": 5}, swap={"retries": 1}, plan={"retries": 2}))

    assert [found[name][0] for name in ("batch.swap", "plan", "batch.upload")] == [1, 2, 5]


@pytest.mark.parametrize(
    ("dag_args", "group_args", "rule"),
    [
        pytest.param({}, {}, "upstream", id="neither says"),
        pytest.param({"weight_rule": "absolute"}, {}, "absolute", id="rule of the DAG"),
        pytest.param({"priority_weight": 5}, {}, "downstream", id="weight of the DAG"),
        pytest.param(
            {"weight_rule": "absolute"}, {"weight_rule": "downstream"}, "downstream", id="group before DAG"
        ),
    ],
)
def test_later_tasks_of_a_batch_start_first(
    dag_args: dict[str, Any], group_args: dict[str, Any], rule: str
) -> None:
    """A swap starts before the uploads that wait; ``default_args`` of DAG and group take precedence."""
    dag = dag_with(dag_args, default_args=group_args)

    tasks: list[Any] = [
        dag.get_task(f"piktid_refresh.batch.{name}") for name in ("upload", "swap", "collect")
    ]
    assert {_rule(task.weight_rule) for task in tasks} == {rule}


def test_two_uploads_run_at_once() -> None:
    """The uploads of a large night do not fill all worker slots before the first swap."""
    dag = dag_with({})

    assert dag.get_task("piktid_refresh.batch.upload").max_active_tis_per_dagrun == 2


def _rule(value: Any) -> str:
    """Return the name of a weight rule: newer versions have an object for it."""
    name = type(value).__name__
    known = {"_UpstreamPriorityWeightStrategy": "upstream", "_AbsolutePriorityWeightStrategy": "absolute"}
    return (
        known.get(name, "downstream") if not isinstance(value, str) else str(getattr(value, "value", value))
    )
