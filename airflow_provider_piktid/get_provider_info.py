# SPDX-License-Identifier: Apache-2.0
"""
What Airflow is told about this package, as plain data.

Every Airflow process reads it, so nothing is imported here but the version. The fields of the connection
form stand here once: Airflow 3.2+ reads them from the metadata, and the hook builds the form of older
versions from the same constants.
"""

from __future__ import annotations

from typing import Any, Final

from airflow_provider_piktid import __version__

__all__ = [
    "CONNECTION_TYPE",
    "CONN_FIELDS",
    "HOOK_NAME",
    "UI_FIELD_BEHAVIOUR",
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
    "operators.generate_person",
    "operators.download",
    "operators.regenerate",
    "operators.refresh",
)
SENSORS: Final = ("sensors.job",)
TRIGGERS: Final = ("triggers.job", "triggers.generate_person", "triggers.regenerate")
EXTRA_LINKS: Final = ("links.PiktidJobLink", "links.PiktidContactSheetLink")

HOW_TO_GUIDES: Final = (
    "/docs/quickstart.md",
    "/docs/connection.md",
    "/docs/operators/upload.md",
    "/docs/operators/identity.md",
    "/docs/operators/model_swap.md",
    "/docs/operators/generate_person.md",
    "/docs/operators/download.md",
    "/docs/operators/regenerate.md",
    "/docs/operators/refresh.md",
    "/docs/refresh.md",
    "/docs/sensor.md",
)

#: Fields of the connection's Extra, in the form of Airflow's `conn-fields`. A blank one takes its default.
CONN_FIELDS: Final[dict[str, dict[str, Any]]] = {
    "v1_url": {
        "label": "Base URL of the v1 API",
        "description": "Blank: the host plus /api, or the public address when the host is blank too.",
        "schema": {"type": ["string", "null"], "format": "url"},
    },
    "app_url": {
        "label": "Page that people open",
        "description": "Where the link of a task leads. Blank: the host, or the public web application.",
        "schema": {"type": ["string", "null"], "format": "url"},
    },
    "timeout": {
        "label": "Timeout of one request (s)",
        "description": "Seconds until one HTTP request is given up; not the time a job may take.",
        "schema": {"type": ["number", "null"], "default": 60, "minimum": 1, "maximum": 3600},
    },
    "max_concurrency": {
        "label": "Transfers at once",
        "description": "How many images one task uploads or downloads at the same time.",
        "schema": {"type": ["integer", "null"], "default": 8, "minimum": 1, "maximum": 64},
    },
    "jobs_per_minute": {
        "label": "Job submissions per minute",
        "description": "What the account allows. The server's refusal stays the authority.",
        "schema": {"type": ["integer", "null"], "default": 5, "minimum": 1},
    },
    "active_jobs": {
        "label": "Active jobs",
        "description": "How many jobs of the account may run at the same time.",
        "schema": {"type": ["integer", "null"], "default": 5, "minimum": 1},
    },
    "images_per_job": {
        "label": "Images per job",
        "description": "How many images one job takes; a larger batch is split.",
        "schema": {"type": ["integer", "null"], "default": 10, "minimum": 1},
    },
}

#: What becomes of the standard fields. The keys are the metadata's: `hidden-fields`, not `hidden_fields`.
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
                    "With it a retry finds the jobs that an earlier try paid for. Blank: the task state "
                    "store of Airflow 3.3 and newer, and no record on older versions."
                ),
                "version_added": "0.1.0",
                "type": "string",
                "example": "s3://bucket/piktid-state",
                "default": None,
            }
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
    }
