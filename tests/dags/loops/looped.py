# SPDX-License-Identifier: Apache-2.0
"""A paid task that a loop of Airflow 3.4 repeats once with equal arguments."""

from __future__ import annotations

from typing import Any

from airflow import sdk

from airflow_provider_piktid.operators.model_swap import PiktidModelSwapOperator

PARAMS: dict[str, Any] = {"project_id": "", "images": []}


@sdk.dag(schedule=None, params=PARAMS, render_template_as_native_obj=True)
def looped() -> None:
    @sdk.task_group
    def attempt(images: str) -> None:
        PiktidModelSwapOperator(
            task_id="swap",
            project_id="{{ params.project_id }}",
            images=images,
            identity_code="PiktidSummer",
        )

    group: Any = attempt.partial(images="{{ params.images }}")
    group.loop(max_iterations=2)


looped()
