# SPDX-License-Identifier: Apache-2.0
"""Deliveries of the webhook, signed as PiktID documents it, and the assets that they are for."""

from __future__ import annotations

import hashlib
import hmac
import itertools
import json
import time
from typing import Any

from airflow_provider_piktid.jobs.ended import JobFilter, asset_extra

SECRET = "whsec-0a1b2c3d"
_numbers = itertools.count(1)


def body(job_id: str | None, *, name: str = "batch_edit", status: str = "completed", **more: Any) -> bytes:
    """Return a notification as PiktID sends it; ``timestamp`` and ``id`` may be given."""
    data = {"status": status} | ({} if job_id is None else {"id_task": job_id, "job_id": job_id})
    value = {"id": next(_numbers), "name": name, "data": data, "timestamp": time.time(), **more}
    return json.dumps(value).encode()


def signature(content: bytes, secret: str = SECRET) -> str:
    return "sha256=" + hmac.new(secret.encode(), content, hashlib.sha256).hexdigest()


def signed(content: bytes, secret: str = SECRET) -> dict[str, str]:
    """Return the headers of a delivery."""
    return {"X-Webhook-Signature": signature(content, secret), "Content-Type": "application/json"}


def store_asset(name: str, jobs: JobFilter | None = None, *, conn_id: str = "piktid_default") -> int:
    """Add an active asset to the database of Airflow 3; return its id."""
    from airflow.models.asset import AssetActive, AssetModel
    from airflow.utils.session import create_session

    with create_session() as session:
        model = AssetModel(
            name=name, uri=name, group="asset", extra=asset_extra(conn_id, jobs or JobFilter())
        )
        session.add(model)
        session.flush()
        session.add(AssetActive(name=name, uri=name))
        return int(model.id)


def asset_events(asset_id: int) -> list[dict[str, Any]]:
    """Return the extra of each event of an asset, oldest first."""
    from airflow.models.asset import AssetEvent
    from airflow.utils.session import create_session
    from sqlalchemy import select

    with create_session() as session:
        rows = session.scalars(
            select(AssetEvent.extra).where(AssetEvent.asset_id == asset_id).order_by(AssetEvent.id)
        )
        return list(rows)


def schedule_on(asset_id: int) -> None:
    """Store a DAG that is scheduled on an asset."""
    from airflow.models.asset import DagScheduleAssetReference
    from airflow.models.dag import DagModel
    from airflow.models.dagbundle import DagBundleModel
    from airflow.utils.session import create_session

    dag_id = f"dag-of-{asset_id}"
    with create_session() as session:
        session.add(DagBundleModel(name=dag_id))
        session.flush()
        session.add(DagModel(dag_id=dag_id, is_paused=False, is_stale=False, bundle_name=dag_id))
        session.flush()
        session.add(DagScheduleAssetReference(asset_id=asset_id, dag_id=dag_id))


def queued_events(asset_id: int) -> set[int]:
    """Return the ids of the events that the queued run of an asset's DAG will get."""
    from airflow.models.asset import AssetDagRunQueue, AssetEvent
    from airflow.utils.session import create_session
    from sqlalchemy import select

    of_asset = AssetDagRunQueue.asset_id == asset_id
    if hasattr(AssetDagRunQueue, "asset_event_id"):
        query = select(AssetDagRunQueue.asset_event_id).where(of_asset)
    else:
        # Before 3.4: the events up to the time of the queue's only entry.
        until = select(AssetDagRunQueue.created_at).where(of_asset).scalar_subquery()
        query = select(AssetEvent.id).where(AssetEvent.asset_id == asset_id, AssetEvent.timestamp <= until)
    with create_session() as session:
        return set(session.scalars(query))
