# SPDX-License-Identifier: Apache-2.0
"""
Register asset events in Airflow's database, from the process of the API server.

This is the only module that uses Airflow's internal interfaces for assets: ``asset_manager.register_asset_change``,
whose signature is the same from 3.0 to 3.4, and the tables beside it.
"""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from airflow_provider_piktid.jobs.end_memory import WEBHOOK_KEY, with_webhook_end
from airflow_provider_piktid.jobs.ended import filter_of
from airflow_provider_piktid.jobs.submission import CLOCK_SLACK_SECONDS
from airflow_provider_piktid.webhook.delivery import ReportedEnd, extra_of, is_known
from airflow_provider_piktid.webhook.receiver import JobAsset

if TYPE_CHECKING:
    from sqlalchemy.orm import Session


class MetadataSink:
    """Registers events in the metadata database. Its calls run in threads, as the sessions block."""

    async def assets(self, piktid_conn_id: str) -> list[JobAsset]:
        return await asyncio.to_thread(_assets, piktid_conn_id)

    async def register(self, asset: JobAsset, end: ReportedEnd) -> bool:
        return await asyncio.to_thread(_register, asset, end)


def _assets(piktid_conn_id: str) -> list[JobAsset]:
    from airflow.models.asset import AssetModel
    from airflow.utils.session import create_session
    from sqlalchemy import select

    with create_session() as session:
        rows = session.execute(
            select(AssetModel.id, AssetModel.name, AssetModel.extra).where(AssetModel.active.has())
        )
        found = [(row.id, row.name, filter_of(row.extra, piktid_conn_id)) for row in rows]
    return [JobAsset(number, name, jobs) for number, name, jobs in found if jobs is not None]


def _register(asset: JobAsset, end: ReportedEnd) -> bool:
    from airflow.assets.manager import asset_manager
    from airflow.models.asset import AssetModel
    from airflow.utils.session import create_session

    with create_session() as session:
        _lock(session, asset.id)
        if is_known(end, _events(session, asset.id, end.told_at - CLOCK_SLACK_SECONDS)):
            return False
        names_events = _queue_names_events()
        if not names_events:
            _hold_queue(session, asset.id)
        model = session.get(AssetModel, asset.id)
        if model is None or not asset_manager.register_asset_change(
            asset=model, extra=extra_of([end]), session=session
        ):
            raise LookupError(f"asset {asset.name} is not in the database")
        if not names_events:
            _renew_queue(session, asset.id)
        _tell_watcher(session, asset.id, end.key)
    return True


def _lock(session: Session, asset_id: int) -> None:
    """
    Let one API server at a time register an event of an asset.

    An update that changes nothing locks the row, and the whole of an SQLite database.
    """
    from airflow.models.asset import AssetModel
    from sqlalchemy import update

    session.execute(
        update(AssetModel)
        .where(AssetModel.id == asset_id)
        .values(group=AssetModel.group, updated_at=AssetModel.updated_at)
    )


def _events(session: Session, asset_id: int, since: float) -> list[tuple[float, Any]]:
    from airflow.models.asset import AssetEvent
    from sqlalchemy import select

    rows = session.execute(
        select(AssetEvent.timestamp, AssetEvent.extra).where(
            AssetEvent.asset_id == asset_id, AssetEvent.timestamp >= datetime.fromtimestamp(since, UTC)
        )
    )
    return [(row.timestamp.timestamp(), row.extra) for row in rows]


def _queue_names_events() -> bool:
    """Return whether the queue of runs has an entry for each event, as in 3.4, and not one for the asset."""
    from airflow.models.asset import AssetDagRunQueue

    return hasattr(AssetDagRunQueue, "asset_event_id")


def _hold_queue(session: Session, asset_id: int) -> None:
    """Keep the scheduler from using this asset's entries of the queue of runs until the end of the transaction."""
    from airflow.models.asset import AssetDagRunQueue
    from sqlalchemy import select

    session.execute(
        select(AssetDagRunQueue.target_dag_id).where(AssetDagRunQueue.asset_id == asset_id).with_for_update()
    ).all()


def _renew_queue(session: Session, asset_id: int) -> None:
    """
    Set the time of this asset's entries in the queue of runs to now.

    Before 3.4 a run gets the events up to the time of its entry in the queue, and a second event does not change an
    entry. So an event that follows while the run is still queued would be seen only by the run after the next event.
    """
    from airflow.models.asset import AssetDagRunQueue
    from sqlalchemy import update

    session.execute(
        update(AssetDagRunQueue)
        .where(AssetDagRunQueue.asset_id == asset_id)
        .values(created_at=datetime.now(UTC))
    )


def _tell_watcher(session: Session, asset_id: int, key: str | None) -> None:
    """Note the end where the asset's watcher looks before it reports one. Airflow before 3.3 has no such store."""
    try:
        from airflow.state import AssetScope, get_state_backend
    except ImportError:
        return
    if key is not None:
        store, scope = get_state_backend(), AssetScope(asset_id=asset_id)
        stored = store.get(scope, WEBHOOK_KEY, session=session)
        value = with_webhook_end(json.loads(stored) if stored else None, key)
        store.set(scope, WEBHOOK_KEY, json.dumps(value), session=session)
