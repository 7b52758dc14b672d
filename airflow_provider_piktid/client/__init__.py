# SPDX-License-Identifier: Apache-2.0
"""The clients of PiktID's v2 and v1 APIs, async and sync."""

from __future__ import annotations

from airflow_provider_piktid.client._async import AsyncPiktidClient
from airflow_provider_piktid.client._checksum import Checksum
from airflow_provider_piktid.client._http import check_base_url
from airflow_provider_piktid.client._retry import NO_RETRY, RetrySettings
from airflow_provider_piktid.client._stream import StreamFrame
from airflow_provider_piktid.client._sync import PiktidClient
from airflow_provider_piktid.client._transfer import ByteSource, BytesSource, ByteStream
from airflow_provider_piktid.client._v1 import AsyncPiktidV1Client
from airflow_provider_piktid.client._v1_sync import PiktidV1Client
from airflow_provider_piktid.client.webhooks import verify_signature
from airflow_provider_piktid.get_provider_info import DEFAULT_BASE_URL, DEFAULT_V1_URL

__all__ = [
    "DEFAULT_BASE_URL",
    "DEFAULT_V1_URL",
    "NO_RETRY",
    "AsyncPiktidClient",
    "AsyncPiktidV1Client",
    "ByteSource",
    "ByteStream",
    "BytesSource",
    "Checksum",
    "PiktidClient",
    "PiktidV1Client",
    "RetrySettings",
    "StreamFrame",
    "check_base_url",
    "verify_signature",
]
