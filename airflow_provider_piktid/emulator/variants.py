# SPDX-License-Identifier: Apache-2.0
"""
Variants: choices where the documents of the API disagree or are silent.

The first value of each variant is the default. A variant without values takes an integer, by default 0
unless it names another.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

__all__ = ["VARIANTS", "Variant", "Variants"]


@dataclass(frozen=True)
class Variant:
    """
    One variant.

    :param values: Possible values, default first; empty for an integer.
    :param meaning: What it changes.
    :param number: Default if it takes an integer.
    """

    name: str
    values: tuple[str, ...]
    meaning: str
    number: int = 0

    @property
    def default(self) -> str:
        return self.values[0] if self.values else str(self.number)

    def check(self, value: str) -> str:
        """
        Return ``value`` if it is valid.

        :raises ValueError: It is not.
        """
        if self.values and value not in self.values:
            raise ValueError(f"variant {self.name}: {value!r} is not one of {', '.join(self.values)}")
        if not self.values and not value.isdecimal():
            raise ValueError(f"variant {self.name}: {value!r} is not an integer")
        return value


_TABLE = (
    Variant(
        "events", ("both", "docs", "seed"), "names of job events: batch_edit (docs), completed/error (seed)"
    ),
    Variant("job_id_key", ("both", "job_id", "id_task"), "key of the job id in event data"),
    Variant("notifications_post", ("on", "404"), "whether POST /notifications exists"),
    Variant("result_url", ("both", "output", "url"), "where a result has its link"),
    Variant(
        "failed_output", ("object", "null"), "output of a failed image: an object with null values, or null"
    ),
    Variant("post_process_default", ("false", "true"), "post_process if the request omits it"),
    Variant("images_limit", (), "images per job; 0 for no limit", number=10),
    Variant("upload_strict", ("off", "on"), "on: /upload requires project_name of an existing project"),
    Variant("echo_project", ("off", "on"), "on: /upload returns the project"),
    Variant("project_status", ("201", "200"), "status of a created project"),
    Variant("project_conflict", ("with_id", "bare"), "body of the 409 for an existing project name"),
    Variant("identity_status", ("201", "200"), "status of an uploaded identity"),
    Variant(
        "identity_conflict",
        ("existing_identity_code", "identity_code", "bare"),
        "key of the code in the 409 for an existing identity name",
    ),
    Variant("job_status", ("202", "200", "201"), "status of a created job"),
    Variant("fresh_404", (), "how often status or results of a new job return 404 first"),
    Variant("results", ("full", "seed", "g1"), "which fields the results body has"),
    Variant("draft_id", ("id", "both", "image_result_id"), "key of a result's number"),
    Variant("rate_429", ("rate", "identity_cap"), "message of the rate limit's 429"),
    Variant("rate_counts", ("accepted", "all"), "whether refused submissions count towards the rate limit"),
    Variant("retry_after", ("none", "seconds", "date"), "Retry-After of a 429"),
    Variant("validation_status", ("422", "400"), "status of a validation error"),
    Variant("engines", ("four", "seed"), "swap engines accepted: with nano_banana_2, or the guide's three"),
    Variant(
        "packshot_index",
        ("variation", "instruction"),
        "what image_index of a packshot counts; group_index counts the other one",
    ),
    Variant("billing", ("usage", "balance"), "what GET /billing/credits returns"),
    Variant("zip_expired", ("404", "410"), "status of an expired ZIP link"),
    Variant("zip_use", ("many", "once"), "whether a ZIP link can be used more than once"),
    Variant(
        "undecodable", ("image", "job"), "whether an unreadable picture fails its image or the whole job"
    ),
    Variant(
        "checksum",
        ("none", "etag", "opaque_etag", "content_md5", "x_goog_hash", "x_amz_checksum"),
        "checksum header of result and ZIP links; opaque_etag: an ETag that looks like an MD5 but is none",
    ),
    Variant("unuploaded", ("accept", "reject"), "a job with a file_id that was never uploaded"),
    Variant("partial_job", ("completed", "failed"), "status of a job if only some images failed"),
    Variant("partial_rows", ("all", "finished"), "whether results include unfinished images"),
    Variant(
        "gallery_pending",
        ("inputs", "no_images", "hidden"),
        "how GET /gallery/by-job lists a job that has not ended",
    ),
    Variant("refund_failed", ("no", "yes"), "whether failed images are refunded"),
    Variant("post_process_event", ("on", "off"), "whether a change of post-processing sends a batch_edit"),
    Variant(
        "identity_face",
        ("report", "reject"),
        "an identity picture without a face: preprocessing fails, or 400",
    ),
    Variant("unknown_fields", ("ignore", "reject"), "unknown keys in a request body"),
    Variant("refresh_reuse", ("allow", "refuse"), "using a refresh token of /auth/refresh more than once"),
    Variant("v1_refresh", ("body", "cookie"), "where v1 returns the refresh token"),
    Variant(
        "v1_image_id", ("both", "id_image", "image_id"), "key of the image id in the response to an upload"
    ),
    Variant("v1_coordinates", ("top", "nested"), "persons at the top level of the response, or under faces"),
    Variant(
        "v1_too_many_persons",
        ("refuse", "cut", "all"),
        "a picture of more than 30 persons: 400, the first 30, or all",
    ),
    Variant("v1_unusable", ("fails", "refuse"), "a person that is not approved: a failed generation, or 400"),
    Variant("v1_keyword_key", ("insensitive", "strict"), "strict: Location is accepted, location is not"),
    Variant("v1_locations", ("9", "8"), "9: Central Africa is accepted"),
    Variant("v1_category", ("optional", "required"), "whether a generation requires category"),
    Variant("v1_generate_reply", ("task", "empty"), "response to a generation: status and ids, or {}"),
    Variant(
        "v1_notification_fields", ("both", "id", "timestamp", "none"), "id and timestamp of a notification"
    ),
    Variant("v1_notification_keyword", ("string", "object", "absent"), "keyword in a notification"),
    Variant("v1_id_person", ("int", "text"), "id_person in a notification"),
    Variant("v1_error_ids", ("absent", "present"), "whether an error has picture, person, keyword and task"),
    Variant("v1_delete_unknown", ("200", "404"), "deleting an unknown notification"),
    Variant("v1_poll_limit", ("off", "on"), "on: 429 for polls less than poll_seconds apart"),
)

#: All variants by name.
VARIANTS: Mapping[str, Variant] = {variant.name: variant for variant in _TABLE}


class Variants:
    """
    The selected values.

    :param chosen: Name to value; all others have their default.
    :raises ValueError: Unknown name or value.
    """

    def __init__(self, chosen: Mapping[str, str] | None = None) -> None:
        self._values = {name: variant.default for name, variant in VARIANTS.items()}
        for name, value in (chosen or {}).items():
            self.set(name, value)

    def set(self, name: str, value: str) -> None:
        """Set one variant."""
        if name not in VARIANTS:
            raise ValueError(f"unknown variant {name!r}; known: {', '.join(VARIANTS)}")
        self._values[name] = VARIANTS[name].check(str(value))

    def __getitem__(self, name: str) -> str:
        return self._values[name]

    def number(self, name: str) -> int:
        """Return the value of a variant as an integer."""
        return int(self._values[name])

    def as_dict(self) -> dict[str, str]:
        return dict(self._values)
