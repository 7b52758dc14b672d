# SPDX-License-Identifier: Apache-2.0
"""
The facts about the service on which its sources disagree, or about which they say nothing.

Plain data: the probe decides some of them, the report and the docs show all. ``answers`` map what the probe may find
to what it means for users of this package.
"""

from __future__ import annotations

from collections.abc import Mapping

from airflow_provider_piktid.probe.fact import Fact

_NOTHING = "nothing to set: both are accepted"

_FREE = (
    Fact("unauthorized", "Status without a token", "free", "401 in PiktID's clients", {"401": _NOTHING}),
    Fact(
        "unknown_job",
        "Status for a job that does not exist",
        "free",
        "404 in PiktID's clients",
        {"404": _NOTHING},
    ),
    Fact(
        "validation_status",
        "Status of a validation error",
        "free",
        "the reference lost the number",
        {"422": _NOTHING, "400": _NOTHING},
    ),
    Fact(
        "project_status",
        "Status for a new project",
        "free",
        "guide: 200; clients: 200 or 201",
        {"201": _NOTHING, "200": _NOTHING},
    ),
    Fact(
        "project_conflict",
        "Does the 409 for an existing project name contain its id?",
        "free",
        "clients accept both",
        {"with_id": _NOTHING, "bare": "each upload to an existing project lists projects once more"},
    ),
    Fact(
        "unknown_fields",
        "Are unknown fields of a request refused?",
        "free",
        "not stated",
        {"ignore": _NOTHING, "reject": "set project_name of the upload operator only if PiktID asks for it"},
    ),
    Fact(
        "project_ids",
        "What is project_id in listings?",
        "free",
        "guide: text; reference: a number, with the text in project_key",
        {"number_and_key": _NOTHING, "text": _NOTHING, "number": "projects cannot be matched: report it"},
    ),
    Fact(
        "upload_strict",
        "Does an upload need project_name?",
        "free",
        "oldest reference: yes; newer ones: no",
        {"off": _NOTHING, "on": "uploads have to send project_name"},
    ),
    Fact(
        "echo_project",
        "Does the reply to an upload name the project?",
        "free",
        "guide and oldest reference: yes; newer ones: no",
        {"on": _NOTHING, "off": _NOTHING},
    ),
    Fact(
        "upload_put",
        "Status of a presigned upload",
        "free",
        "clients: 200 or 201",
        {"200": _NOTHING, "201": _NOTHING},
    ),
    Fact(
        "file_life",
        "How long do file ids live?",
        "free",
        "not stated; this package assumes 24 hours",
        {
            "a day or more": "uploads may be reused for longer than 24 hours; this package does not yet",
            "not seen yet": "run the probe again in two days: it looks for the picture that it uploads now",
        },
    ),
    Fact(
        "notifications_post",
        "Does POST /notifications exist?",
        "free",
        "older reference: yes; newest guide: not listed",
        {"on": _NOTHING, "absent": "nothing to set: this package does not need it"},
    ),
    Fact(
        "stream",
        "Does the notification stream exist, in the documented order?",
        "free",
        "guide and newest reference: yes",
        {
            "documented": "waits use one stream for all tasks of a triggerer",
            "other_order": "waits poll more often: report it",
            "absent": "waits poll: set poll_interval of operators to 15 or more",
        },
    ),
    Fact(
        "keepalive",
        "Seconds between keepalives of the stream",
        "free",
        "about 15",
        {"20 s or less": _NOTHING, "longer": "a stream counts as broken after 45 s of silence: report it"},
    ),
    Fact(
        "webhook_get",
        "Does GET /webhooks exist?",
        "free",
        "no source",
        {"on": _NOTHING, "absent": "`webhook show` cannot work"},
    ),
    Fact(
        "billing",
        "What does GET /billing/credits return?",
        "free",
        "reference: credits used; README: the balance",
        {"usage": "`check` shows credits used", "balance": "`check` cannot show credits used"},
    ),
)

_HISTORY = (
    Fact(
        "results",
        "Which fields does the results body have?",
        "history",
        "guide: 5; reference: the whole block of the job",
        {
            "full": _NOTHING,
            "g1": "credits used are not known",
            "seed": "credits used and variations are not known",
        },
    ),
    Fact(
        "result_url",
        "Where has a result its link?",
        "history",
        "guide: url; reference and clients: output.full_size",
        {"output": _NOTHING, "url": _NOTHING, "both": _NOTHING},
    ),
    Fact(
        "draft_id",
        "Which key has the number of a result?",
        "history",
        "clients: image_result_id; reference: id",
        {"id": _NOTHING, "image_result_id": _NOTHING, "both": _NOTHING},
    ),
    Fact(
        "failed_output",
        "What is the output of a failed image?",
        "history",
        "not stated",
        {"object": _NOTHING, "null": _NOTHING},
    ),
    Fact(
        "failed_billed",
        "Is a failed job billed, and does the reply say so?",
        "history",
        "not stated",
        {
            "stated, free": "a retry submits failed jobs again by itself, at no cost",
            "stated, billed": "a failed job is not submitted again without rerun_key",
            "not stated": "a failed job counts as billed and is not submitted again without rerun_key",
        },
    ),
    Fact(
        "partial_job",
        "Status of a job if only some images failed",
        "history",
        "not stated",
        {
            "completed": _NOTHING,
            "failed": "such a task fails, also with fail_on_partial=False; regenerate it",
        },
    ),
    Fact(
        "checksum",
        "Do result links carry a checksum?",
        "history",
        "no source",
        {
            "etag": "downloads are checked without decoding",
            "content_md5": "downloads are checked without decoding",
            "x_goog_hash": "downloads are checked without decoding",
            "x_amz_checksum": "downloads are checked without decoding",
            "none": "downloads are checked by decoding",
        },
    ),
    Fact(
        "zip_use",
        "Can a ZIP link be used more than once?",
        "history",
        "not stated",
        {"many": _NOTHING, "once": "an interrupted download of archive=True requests a new link"},
    ),
    Fact(
        "zip_life",
        "How long is a ZIP link valid?",
        "history",
        "an hour in the guide's example",
        {"10 minutes or more": _NOTHING, "less": "use archive=True for small jobs only"},
    ),
)

_SPEND = (
    Fact(
        "job_status",
        "Status of a created job",
        "spend",
        "clients: 202 only",
        {"202": _NOTHING, "200": _NOTHING, "201": _NOTHING},
    ),
    Fact(
        "fresh_404",
        "How long does a fresh job answer 404?",
        "spend",
        "guide: not at all; clients: up to 30 or 300 s",
        {
            "not at all": _NOTHING,
            "for a while": "a job counts as lost after 30 s of answers 404; compare the seconds",
        },
    ),
    Fact(
        "gallery_pending",
        "Does the gallery list a pending job with its inputs?",
        "spend",
        "not stated",
        {
            "inputs": "lost replies can be resolved: yes",
            "listed": "lost replies can be resolved: no. A lost reply stops the task until a person looks",
            "hidden": "lost replies can be resolved: only later. Raise lost_reply_grace",
        },
    ),
    Fact(
        "partial_rows",
        "Do results include unfinished images?",
        "spend",
        "not stated",
        {"all": _NOTHING, "finished": _NOTHING},
    ),
    Fact(
        "events",
        "Names of job events",
        "spend",
        "guide: completed, error; reference: batch_edit, image_result",
        {
            "docs": _NOTHING,
            "seed": _NOTHING,
            "both": _NOTHING,
            "none": "waits learn of ends by asking every two minutes",
        },
    ),
    Fact(
        "job_id_key",
        "Key of the job id in events",
        "spend",
        "guide: job_id; its code: id_task",
        {
            "both": _NOTHING,
            "job_id": _NOTHING,
            "id_task": _NOTHING,
            "none": "every event makes all waits ask",
        },
    ),
    Fact(
        "price",
        "Does a job state its credits?",
        "spend",
        "reference: credits_used, which may be null",
        {
            "stated": "set credits_per_output to the price that was seen",
            "not stated": "max_credits is an estimate",
        },
    ),
)

_PERSON = (
    Fact(
        "v1_image_id",
        "v1: key of the image id",
        "person",
        "quick start: image_id; its code: id_image",
        {"both": _NOTHING, "id_image": _NOTHING, "image_id": _NOTHING},
    ),
    Fact(
        "v1_coordinates",
        "v1: where are the persons?",
        "person",
        "guide: top level; others: faces",
        {"top": _NOTHING, "nested": _NOTHING},
    ),
    Fact(
        "v1_generate_reply",
        "v1: reply to a generation",
        "person",
        "not documented",
        {"task": _NOTHING, "empty": _NOTHING},
    ),
    Fact(
        "v1_notification_fields",
        "v1: has a notification id and timestamp?",
        "person",
        "quick start: neither; clients: both",
        {
            "both": _NOTHING,
            "id": _NOTHING,
            "timestamp": "notifications are not deleted",
            "none": "notifications are not deleted",
        },
    ),
    Fact(
        "v1_notification_keyword",
        "v1: form of keyword in a notification",
        "person",
        "not stated",
        {
            "string": _NOTHING,
            "object": _NOTHING,
            "absent": "several keywords of one person cannot be told apart",
        },
    ),
    Fact(
        "v1_id_person",
        "v1: type of id_person in a notification",
        "person",
        "quick start: text; clients: number",
        {"int": _NOTHING, "text": _NOTHING},
    ),
    Fact(
        "v1_delete_unknown",
        "v1: deleting a notification that does not exist",
        "person",
        "not stated",
        {"200": _NOTHING, "404": _NOTHING},
    ),
)

_LIMIT = "it would mean to exceed a limit of the account; it is noted if PiktID refuses for its own reasons"
_COSTS = "it would cost more than one output"
_LEAVES = "it would leave something behind that cannot be removed"

_NEVER = (
    Fact(
        "retry_after",
        "Form of Retry-After",
        "never",
        "no source",
        {"none": "", "seconds": "", "date": ""},
        _LIMIT,
    ),
    Fact("rate_limit", "What does a 429 say?", "never", "slow down, or a quota is reached", why=_LIMIT),
    Fact("images_limit", "Images in one job", "never", "guide: not stated; reference: 10", why=_COSTS),
    Fact(
        "post_process_default",
        "post_process if it is not sent",
        "never",
        "guide: true; reference: false",
        why="it is always sent",
    ),
    Fact("engines", "Engines of a model swap", "never", "guide: three; newest client: four", why=_COSTS),
    Fact("identity_upload", "Replies to an uploaded identity", "never", "200 or 201; 409", why=_LEAVES),
    Fact("unuploaded", "A job with a file that was never uploaded", "never", "not stated", why=_COSTS),
    Fact("undecodable", "A job with a picture that cannot be read", "never", "not stated", why=_COSTS),
    Fact("zip_expired", "Status of an expired ZIP link", "never", "not stated", why="it would take an hour"),
    Fact(
        "refresh_token",
        "Is a refresh token of v2 single-use?",
        "never",
        "not stated",
        why="it could end all sessions of the account",
    ),
    Fact(
        "v1_limits", "v1: persons in one picture, polls, keywords, category", "never", "several", why=_COSTS
    ),
    Fact(
        "v1_error_ids",
        "v1: does an error name its request?",
        "never",
        "not documented",
        why="it needs a generation that fails",
    ),
)

FACTS: Mapping[str, Fact] = {fact.name: fact for fact in (*_FREE, *_HISTORY, *_SPEND, *_PERSON, *_NEVER)}
