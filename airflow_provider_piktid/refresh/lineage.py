# SPDX-License-Identifier: Apache-2.0
"""
The OpenLineage metadata of a finished refresh: source, output, amounts and credits.

Only the OpenLineage provider calls this; the extra ``openlineage`` installs it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from airflow_provider_piktid import __version__
from airflow_provider_piktid.files import storage


def refresh_lineage(summary: Mapping[str, Any] | None) -> Any:
    """
    Describe a refresh for OpenLineage.

    :param summary: The summary of the run; None returns an empty description.
    :return: ``OperatorLineage`` of the OpenLineage provider.
    """
    from airflow.providers.openlineage.extractors import OperatorLineage
    from openlineage.client.event_v2 import InputDataset, OutputDataset
    from openlineage.client.facet_v2 import output_statistics_output_dataset

    if not summary:
        return OperatorLineage()
    statistics = output_statistics_output_dataset.OutputStatisticsOutputDatasetFacet(
        rowCount=summary["files"], size=summary["bytes"], fileCount=summary["files"]
    )
    source, output = dataset(summary["planned"]["source"]), dataset(summary["output_path"])
    return OperatorLineage(
        inputs=[InputDataset(namespace=source[0], name=source[1])],
        outputs=[
            OutputDataset(namespace=output[0], name=output[1], outputFacets={"outputStatistics": statistics})
        ],
        run_facets={"piktid_refresh": _facet(summary)},
    )


def dataset(uri: str) -> tuple[str, str]:
    """
    Return namespace and name of a folder in OpenLineage: ``("s3://bucket", "prefix")``, ``("file", "/folder")``.

    The connection id of a URI is left out, as it is not part of the location.
    """
    location = storage.locate(uri)
    protocol = location.prefix.partition("://")[0]
    if location.is_local:
        return "file", location.path
    bucket, _, key = location.path.partition("/")
    return f"{protocol}://{bucket}", key.strip("/") or "/"


def _facet(summary: Mapping[str, Any]) -> Any:
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

    planned = {name: value for name, value in summary["planned"].items() if isinstance(value, int)}
    return PiktidRefreshRunFacet(
        catalogue=summary["catalogue"],
        sources=dict(summary["sources"]),
        planned=planned,
        credits=summary["credits"],
    )
