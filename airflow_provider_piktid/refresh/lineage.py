# SPDX-License-Identifier: Apache-2.0
"""
What a refresh tells OpenLineage when it ends: the source, the output, how much, and what it cost.

Only OpenLineage's own provider asks for this; the extra ``openlineage`` installs it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from airflow_provider_piktid import __version__
from airflow_provider_piktid.files import storage


def refresh_lineage(told: Mapping[str, Any] | None) -> Any:
    """
    Describe a refresh for OpenLineage.

    :param told: The summary of the run; None gives an empty description.
    :return: ``OperatorLineage`` of OpenLineage's provider.
    """
    from airflow.providers.openlineage.extractors import OperatorLineage
    from openlineage.client.event_v2 import InputDataset, OutputDataset
    from openlineage.client.facet_v2 import output_statistics_output_dataset

    if not told:
        return OperatorLineage()
    statistics = output_statistics_output_dataset.OutputStatisticsOutputDatasetFacet(
        rowCount=told["files"], size=told["bytes"], fileCount=told["files"]
    )
    source, output = dataset(told["planned"]["source"]), dataset(told["output_path"])
    return OperatorLineage(
        inputs=[InputDataset(namespace=source[0], name=source[1])],
        outputs=[
            OutputDataset(namespace=output[0], name=output[1], outputFacets={"outputStatistics": statistics})
        ],
        run_facets={"piktid_refresh": _facet(told)},
    )


def dataset(uri: str) -> tuple[str, str]:
    """
    Name a folder as OpenLineage does: ``("s3://bucket", "prefix")``, ``("file", "/folder")``.

    The connection id of a URI is left out: it says how to get there, not where it is.
    """
    location = storage.locate(uri)
    protocol = location.prefix.partition("://")[0]
    if location.is_local:
        return "file", location.path
    bucket, _, key = location.path.partition("/")
    return f"{protocol}://{bucket}", key.strip("/") or "/"


def _facet(told: Mapping[str, Any]) -> Any:
    from attrs import define
    from openlineage.client.facet_v2 import RunFacet

    @define
    class PiktidRefreshRunFacet(RunFacet):  # type: ignore[misc, unused-ignore]
        catalogue: str
        sources: dict[str, int]
        planned: dict[str, int]
        credits: float | None

        @staticmethod
        def _get_schema() -> str:
            return f"urn:airflow-provider-piktid:{__version__}:PiktidRefreshRunFacet"

    planned = {name: value for name, value in told["planned"].items() if isinstance(value, int)}
    return PiktidRefreshRunFacet(
        catalogue=told["catalogue"],
        sources=dict(told["sources"]),
        planned=planned,
        credits=told["credits"],
    )
