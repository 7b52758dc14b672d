# SPDX-License-Identifier: Apache-2.0
"""
The provider's metadata and the default settings, as plain data.

Every Airflow process reads it, so only the version is imported here. The fields of the connection form are
defined here once: Airflow 3.2+ reads them from the metadata, and the hook builds the form of older versions
from the same constants.
"""

from __future__ import annotations

from typing import Any, Final

from airflow_provider_piktid import __version__

__all__ = [
    "CONNECTION_TYPE",
    "CONN_FIELDS",
    "DEFAULT_ACTIVE_JOBS",
    "DEFAULT_APP_URL",
    "DEFAULT_BASE_URL",
    "DEFAULT_IMAGES_PER_JOB",
    "DEFAULT_JOBS_PER_MINUTE",
    "DEFAULT_MAX_CONCURRENCY",
    "DEFAULT_RATE_WINDOW",
    "DEFAULT_TIMEOUT",
    "DEFAULT_V1_POLL_INTERVAL",
    "DEFAULT_V1_URL",
    "HOOK_NAME",
    "PROJECT_NAME_LENGTH",
    "UI_FIELD_BEHAVIOUR",
    "WEBHOOK_SECRETS",
    "get_provider_info",
]

PACKAGE: Final = "airflow_provider_piktid"
INTEGRATION: Final = "PiktID"
CONNECTION_TYPE: Final = "piktid"
HOOK_NAME: Final = "PiktID"

# Names below `PACKAGE`; a test compares them with the files that exist.
HOOKS: Final = ("hooks.piktid",)
OPERATORS: Final = (
    "operators.upload",
    "operators.identity",
    "operators.model_swap",
    "operators.flat_to_model",
    "operators.packshot",
    "operators.recolor",
    "operators.preset",
    "operators.generate_person",
    "operators.download",
    "operators.regenerate",
    "operators.refresh",
)
SENSORS: Final = ("sensors.job",)
TRIGGERS: Final = ("triggers.job", "triggers.job_event", "triggers.generate_person", "triggers.regenerate")
EXTRA_LINKS: Final = ("links.PiktidJobLink", "links.PiktidContactSheetLink")

HOW_TO_GUIDES: Final = (
    "/docs/quickstart.md",
    "/docs/connection.md",
    "/docs/operators/upload.md",
    "/docs/operators/identity.md",
    "/docs/operators/model_swap.md",
    "/docs/operators/flat_to_model.md",
    "/docs/operators/packshot.md",
    "/docs/operators/recolor.md",
    "/docs/operators/preset.md",
    "/docs/operators/generate_person.md",
    "/docs/operators/download.md",
    "/docs/operators/regenerate.md",
    "/docs/operators/paid.md",
    "/docs/operators/refresh.md",
    "/docs/refresh.md",
    "/docs/sensor.md",
    "/docs/job_events.md",
    "/docs/cli.md",
)

DEFAULT_BASE_URL: Final = "https://v2.api.piktid.com"
DEFAULT_V1_URL: Final = "https://api.piktid.com/api"
#: Where people look at jobs; the public service documents no page of a single job.
DEFAULT_APP_URL: Final = "https://app.on-model.com"

#: Seconds for one request.
DEFAULT_TIMEOUT: Final[float] = 60
#: Uploads or downloads of one task at once.
DEFAULT_MAX_CONCURRENCY: Final = 8
#: Jobs that an account may submit in the rate window. Source: PiktID's clients.
DEFAULT_JOBS_PER_MINUTE: Final = 5
#: Seconds that `jobs_per_minute` is counted over.
DEFAULT_RATE_WINDOW: Final[float] = 60
#: Jobs that an account may run at once. Source: PiktID's clients.
DEFAULT_ACTIVE_JOBS: Final = 5
#: Images in one job. Source: PiktID's reference; an account may differ.
DEFAULT_IMAGES_PER_JOB: Final = 10
#: Seconds between two notification requests of v1. Source: PiktID's person guide.
DEFAULT_V1_POLL_INTERVAL: Final[float] = 3

#: Characters that the name of a project may have. Source: PiktID's reference.
PROJECT_NAME_LENGTH: Final = 128

#: Fields of the connection's Extra with the secrets of the webhook: the current one, and the one before it.
WEBHOOK_SECRETS: Final = ("webhook_secret", "webhook_secret_previous")

#: Fields of the connection's Extra, in the form of Airflow's `conn-fields`. A blank one has its default.
CONN_FIELDS: Final[dict[str, dict[str, Any]]] = {
    "v1_url": {
        "label": "Base URL of the v1 API",
        "description": "Blank: the host plus /api, or the public address when the host is blank too.",
        "schema": {"type": ["string", "null"], "format": "url"},
    },
    "app_url": {
        "label": "Web application",
        "description": "Page that the link of a task opens. Blank: the host, or the public web application.",
        "schema": {"type": ["string", "null"], "format": "url"},
    },
    "timeout": {
        "label": "Request timeout (s)",
        "description": "Seconds until one HTTP request times out; not the time that a job may take.",
        "schema": {"type": ["number", "null"], "default": DEFAULT_TIMEOUT, "minimum": 1, "maximum": 3600},
    },
    "max_concurrency": {
        "label": "Concurrent transfers",
        "description": "How many images one task uploads or downloads at the same time.",
        "schema": {
            "type": ["integer", "null"],
            "default": DEFAULT_MAX_CONCURRENCY,
            "minimum": 1,
            "maximum": 64,
        },
    },
    "jobs_per_minute": {
        "label": "Job submissions per minute",
        "description": "How many jobs the account may submit in the rate window.",
        "schema": {"type": ["integer", "null"], "default": DEFAULT_JOBS_PER_MINUTE, "minimum": 1},
    },
    "rate_window": {
        "label": "Rate window (s)",
        "description": "Seconds over which job submissions are counted.",
        "schema": {"type": ["number", "null"], "default": DEFAULT_RATE_WINDOW, "minimum": 0},
    },
    "active_jobs": {
        "label": "Active jobs",
        "description": "How many jobs of the account may run at the same time.",
        "schema": {"type": ["integer", "null"], "default": DEFAULT_ACTIVE_JOBS, "minimum": 1},
    },
    "images_per_job": {
        "label": "Images per job",
        "description": "How many images one job takes; a larger batch is split into several jobs.",
        "schema": {"type": ["integer", "null"], "default": DEFAULT_IMAGES_PER_JOB, "minimum": 1},
    },
    "v1_poll_interval": {
        "label": "Poll interval of the v1 API (s)",
        "description": "Seconds between two notification requests for one v1 account.",
        "schema": {"type": ["number", "null"], "default": DEFAULT_V1_POLL_INTERVAL, "minimum": 0},
    },
    "webhook_secret": {
        "label": "Secret of the webhook",
        "description": "What registering the webhook returned; checks the signatures of deliveries.",
        "schema": {"type": ["string", "null"], "format": "password"},
    },
    "webhook_secret_previous": {
        "label": "Previous secret of the webhook",
        "description": "Accepted too, while deliveries that were signed with it may still arrive.",
        "schema": {"type": ["string", "null"], "format": "password"},
    },
}

#: How the form shows the standard fields. The keys are the metadata's: `hidden-fields`, not `hidden_fields`.
UI_FIELD_BEHAVIOUR: Final[dict[str, Any]] = {
    "hidden-fields": ["port", "schema"],
    "relabeling": {
        "host": "Base URL",
        "login": "E-mail (v1 only)",
        "password": "API token (or v1 password)",
    },
    "placeholders": {
        "host": "blank for the public service",
        "login": "blank when the password field holds a token",
        "password": "API token of the v2 API",
    },
}


CONFIG: Final[dict[str, Any]] = {
    "piktid": {
        "description": "Settings of the PiktID provider.",
        "options": {
            "state_path": {
                "description": (
                    "Where the record of submitted jobs is kept, as a path of Airflow's object storage. "
                    "With it a retry re-attaches to the jobs that an earlier try paid for. Blank: the task "
                    "state store of Airflow 3.3 and newer, and no record on older versions."
                ),
                "version_added": "0.1.0",
                "type": "string",
                "example": "s3://bucket/piktid-state",
                "default": None,
            },
            "webhook_conn_id": {
                "description": (
                    "Connection whose webhook the API server receives at /piktid/webhook. Its extra needs "
                    "webhook_secret. Deliveries become events of the assets of piktid_jobs_asset. Blank: the "
                    "address does not exist. Airflow 3 only."
                ),
                "version_added": "0.1.0",
                "type": "string",
                "example": "piktid_default",
                "default": None,
            },
        },
    }
}


def _modules(key: str, names: tuple[str, ...]) -> dict[str, list[dict[str, Any]]]:
    return {
        key: [{"integration-name": INTEGRATION, "python-modules": [f"{PACKAGE}.{name}" for name in names]}]
    }


def get_provider_info() -> dict[str, Any]:
    """
    Return the provider's metadata, shaped after Airflow's `provider_info.schema.json`.

    The plugin is not listed: the entry point group `airflow.plugins` loads it in every configuration, and a
    second listing makes Airflow report it as registered twice when `[core] lazy_load_providers` is off.
    """
    return {
        # Has to equal the distribution's name: otherwise discovery fails for every provider of a deployment.
        "package-name": "airflow-provider-piktid",
        "name": "PiktID",
        "description": "`PiktID <https://docs.piktid.com/>`__ model swap and person generation.",
        "versions": [__version__],
        "integrations": [
            {
                "integration-name": INTEGRATION,
                "external-doc-url": "https://docs.piktid.com/",
                "how-to-guide": list(HOW_TO_GUIDES),
                "tags": ["service", "generative-ai"],
            }
        ],
        **_modules("hooks", HOOKS),
        **_modules("operators", OPERATORS),
        **_modules("sensors", SENSORS),
        **_modules("triggers", TRIGGERS),
        "extra-links": [f"{PACKAGE}.{name}" for name in EXTRA_LINKS],
        "connection-types": [
            {
                "connection-type": CONNECTION_TYPE,
                "hook-class-name": f"{PACKAGE}.hooks.piktid.PiktidHook",
                "hook-name": HOOK_NAME,
                "conn-fields": CONN_FIELDS,
                "ui-field-behaviour": UI_FIELD_BEHAVIOUR,
            }
        ],
        "config": CONFIG,
        # `airflow piktid`; read by Airflow 3.2 and newer.
        "cli": [f"{PACKAGE}.cli.airflow_commands.get_cli_commands"],
    }
