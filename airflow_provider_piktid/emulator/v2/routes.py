# SPDX-License-Identifier: Apache-2.0
"""Routes of the v2 API."""

from __future__ import annotations

from functools import partial

from ..operation import route
from . import (
    downloads,
    flat_to_model,
    gallery,
    identities,
    identity_creation,
    jobs,
    login,
    notifications,
    packshot,
    presets,
    projects,
    recolor,
    swap,
    webhooks,
)

_route = partial(route, guard=login.guard)

ROUTES = [
    _route("POST", "/auth/login", "login", login.login, guard=None),
    _route("POST", "/auth/refresh", "refresh", login.refresh, guard=None),
    _route("POST", "/auth/token", "new_token", login.new_token),
    _route("POST", "/project", "project", projects.create_project),
    _route("GET", "/project", "projects", projects.list_projects),
    _route("POST", "/upload", "upload", projects.request_upload),
    _route("PUT", "/s3/uploads/{file_id}/{filename:path}", "put_upload", projects.put_upload, guard=None),
    _route("GET", "/assets", "assets", projects.list_assets),
    _route("GET", "/assets/{asset_id}", "asset", projects.get_asset),
    _route("GET", "/identity", "identities", identities.list_identities),
    _route("POST", "/identity/upload", "identity_upload", identities.upload_identity),
    _route("POST", "/identity/create", "identity_creation", identity_creation.create_identity),
    _route("POST", "/identity/promote-generated", "promote_generated", identity_creation.promote_generated),
    _route("GET", "/identity/{identity_code}", "identity", identities.get_identity),
    _route("GET", "/identity/{identity_code}/status", "identity_status", identities.get_identity_status),
    _route("PATCH", "/identity/{identity_code}/metadata", "identity_metadata", identities.patch_metadata),
    _route("POST", "/identity/{identity_code}/pov", "identity_pov", identities.upload_pov),
    _route("POST", "/model-swap", "model_swap", swap.create_model_swap),
    _route("POST", "/flat-2-model", "flat_2_model", flat_to_model.create_flat_to_model),
    _route("POST", "/create-packshot", "create_packshot", packshot.create_packshot),
    _route("POST", "/garment-recolor", "garment_recolor", recolor.create_garment_recolor),
    _route("POST", "/preset/extract-from-image", "extract_preset", presets.extract_from_image),
    _route("GET", "/jobs/stuck-images", "stuck_images", jobs.list_stuck_images),
    _route("POST", "/jobs/stuck-images/bulk-update", "stuck_update", jobs.update_stuck_images),
    _route("GET", "/jobs/{job_id}/status", "job_status", jobs.get_job_status),
    _route("GET", "/jobs/{job_id}/results", "job_results", jobs.get_job_results),
    _route("GET", "/jobs/{job_id}/versions/{image_index:int}", "versions", jobs.get_image_versions),
    _route("POST", "/jobs/{job_id}/regenerate/{image_index:int}", "regenerate", jobs.regenerate_image),
    _route("GET", "/gallery/by-job", "gallery_jobs", gallery.gallery_by_job),
    _route("GET", "/gallery/by-project", "gallery_projects", gallery.gallery_by_project),
    _route(
        "GET",
        "/notifications/events",
        "events",
        notifications.stream_events,
        guard=notifications.guard_stream,
    ),
    _route("POST", "/notifications", "notifications", notifications.list_notifications),
    _route("DELETE", "/notifications/{id:int}", "notification_delete", notifications.delete_notification),
    _route("PUT", "/webhooks", "webhook_put", webhooks.put_webhook),
    _route("GET", "/webhooks", "webhook_get", webhooks.get_webhook),
    _route("DELETE", "/webhooks", "webhook_delete", webhooks.delete_webhook),
    _route("POST", "/webhooks/test", "webhook_test", webhooks.test_webhook),
    _route("POST", "/download", "download", downloads.create_download),
    _route("POST", "/download/bulk", "bulk_download", downloads.create_bulk_download),
    _route("GET", "/download/{token}", "zip", downloads.get_zip, guard=None),
    _route("GET", "/billing/credits", "billing", gallery.get_credits),
]
