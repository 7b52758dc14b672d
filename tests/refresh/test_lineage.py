# SPDX-License-Identifier: Apache-2.0
"""The OpenLineage facets of a refresh."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_provider_piktid.operators.refresh import PiktidRefreshSummaryOperator
from airflow_provider_piktid.refresh.lineage import dataset, refresh_lineage

pytest.importorskip("airflow.providers.openlineage")

TOLD: dict[str, Any] = {
    "output_path": "/data/out",
    "catalogue": "file:///data/out/_piktid/catalogue",
    "planned": {"source": "/data/in", "listed": 9, "unchanged": 6, "run": "x"},
    "sources": {"done": 2, "failed": 1},
    "files": 2,
    "bytes": 2000,
    "credits": 2.5,
}


def test_lineage_contains_source_output_and_counts() -> None:
    """The lineage contains the input, the output with its size, and a facet of counts and credits."""
    lineage = refresh_lineage(TOLD)

    assert [(each.namespace, each.name) for each in lineage.inputs] == [("file", "/data/in")]
    assert [(each.namespace, each.name) for each in lineage.outputs] == [("file", "/data/out")]
    statistics = lineage.outputs[0].outputFacets["outputStatistics"]
    assert (statistics.rowCount, statistics.size) == (2, 2000)
    facet = lineage.run_facets["piktid_refresh"]
    assert (facet.credits, facet.sources, facet.planned) == (
        2.5,
        {"done": 2, "failed": 1},
        {"listed": 9, "unchanged": 6},
    )


def test_facets_can_be_serialized() -> None:
    """OpenLineage's client serializes the facet to JSON."""
    from openlineage.client.serde import Serde

    text = Serde.to_json(refresh_lineage(TOLD).run_facets["piktid_refresh"])

    assert '"credits": 2.5' in text


def test_dataset_of_a_bucket() -> None:
    """The dataset of an S3 URI consists of the bucket and the key."""
    pytest.importorskip("s3fs")
    assert dataset("s3://bucket/in/summer") == ("s3://bucket", "in/summer")


def test_operator_reads_its_lineage_from_xcom() -> None:
    """The summary task reads its lineage from XCom; without a summary the lineage is empty."""

    class Instance:
        def __init__(self, told: Any) -> None:
            self.told = told

        def xcom_pull(self, **_: Any) -> Any:
            return self.told

    summary = PiktidRefreshSummaryOperator(task_id="summary", plan_task_id="plan", output_path="/data/out")

    assert summary.get_openlineage_facets_on_complete(Instance(TOLD)).inputs
    assert not summary.get_openlineage_facets_on_complete(Instance(None)).inputs
