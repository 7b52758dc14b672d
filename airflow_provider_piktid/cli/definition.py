# SPDX-License-Identifier: Apache-2.0
"""
The commands and their arguments, as plain data.

Both ways to run them are made from it: the ``argparse`` parser of ``python -m airflow_provider_piktid`` and the
commands of ``airflow piktid``. Airflow reads it for every ``airflow`` command, so nothing else is imported here.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, TypeAlias

#: Where the commands are: ``<PACKAGE>.<module>`` has ``collect`` and ``show``.
PACKAGE = "airflow_provider_piktid.cli"

EXIT_CODES = """exit codes:
  0    done, nothing is wrong
  1    done, and something is wrong: the output says what
  2    a wrong argument or connection: the message says what to change
  3    PiktID refused the token or login
  4    PiktID cannot be reached, or failed
  130  interrupted"""


class Argument:
    """One argument, as ``argparse`` takes it."""

    def __init__(self, *flags: str, **options: Any) -> None:
        self.flags = flags
        self.options = options


@dataclass(frozen=True)
class Command:
    """
    One command.

    :param module: Module below :data:`PACKAGE` that does it.
    :param help: One line for the list of commands.
    :param description: What it does, for its own help. Default: ``help``.
    """

    name: str
    module: str
    help: str
    arguments: tuple[Argument, ...] = ()
    description: str | None = None


@dataclass(frozen=True)
class Group:
    """Commands below one name."""

    name: str
    help: str
    commands: tuple[Command | Group, ...] = field(default=())


Node: TypeAlias = Command | Group

JSON = Argument("--json", action="store_true", help="print one JSON document instead of text")
CONNECTION = Argument(
    "--conn-id",
    default="piktid_default",
    metavar="ID",
    help="Airflow connection of type piktid (default: piktid_default)",
)

_CHECK = Command(
    "check",
    "check",
    "test a connection; show its limits and the credits used",
    (CONNECTION, JSON),
    "Test a connection without paying, and show what is set: address, limits, running jobs, credits used, webhook, "
    "and where the records of paid work are kept.",
)

_JOBS = Command(
    "jobs",
    "jobs",
    "list running and ended jobs by project",
    (
        CONNECTION,
        Argument("--project", metavar="NAME", help="only this project, by name or key"),
        Argument(
            "--status", action="append", metavar="STATUS", help="only jobs in this status; may be repeated"
        ),
        Argument("--running", action="store_true", help="only jobs that have not ended"),
        Argument("--limit", type=int, default=50, metavar="N", help="show at most N jobs (default: 50)"),
        JSON,
    ),
    "List the newest jobs of the account by project: what runs and what has ended.",
)

_ASK = Argument("--ask", action="store_true", help="also ask PiktID for the status and credits of each job")

_RECORD = Group(
    "record",
    "show what a task or a refresh has paid for",
    (
        Command(
            "task",
            "record_task",
            "show what one task instance has paid for",
            (
                Argument("dag_id", help="DAG id"),
                Argument("task_id", help="task id, with the ids of its task groups"),
                Argument("run_id", help="id of the DAG run"),
                Argument(
                    "--map-index",
                    type=int,
                    default=-1,
                    metavar="N",
                    help="of a mapped task, or the iteration of a loop from 0 on (default: -1)",
                ),
                Argument(
                    "--path",
                    action="append",
                    metavar="FOLDER",
                    help="state_path or output_path of the operator (default: [piktid] state_path, then Airflow's "
                    "task state store); may be repeated",
                ),
                _ASK,
                CONNECTION,
                JSON,
            ),
            "Read the records of one task instance and say what it has paid for, and what may have been paid for.",
        ),
        Command(
            "refresh",
            "record_refresh",
            "show what the runs of a refresh have paid for",
            (
                Argument("output_path", help="output_path of piktid_refresh"),
                Argument("--run", metavar="TEXT", help="only runs whose folder contains this text"),
                _ASK,
                CONNECTION,
                JSON,
            ),
            "Read the records below the output_path of a refresh and say what each run has paid for.",
        ),
    ),
)

_RESCUE = Command(
    "rescue",
    "rescue",
    "download the outputs of any jobs, with a manifest",
    (
        Argument("job_ids", nargs="+", metavar="JOB", help="job id"),
        Argument(
            "--to", required=True, metavar="PATH", help="folder or prefix on any store that Airflow knows"
        ),
        Argument(
            "--archive", action="store_true", help="download one ZIP for each job instead of single files"
        ),
        Argument("--overwrite", action="store_true", help="download files again that are complete"),
        CONNECTION,
        JSON,
    ),
    "Download what jobs have made, whoever submitted them. Free of charge. Running it again downloads only what is "
    "missing.",
)

_WEBHOOK = Group(
    "webhook",
    "show, set or test the webhook of the account",
    (
        Command("show", "webhook_show", "show where the account's webhook goes", (CONNECTION, JSON)),
        Command(
            "set",
            "webhook_set",
            "set the account's only webhook",
            (
                Argument(
                    "url",
                    help="public address of the receiver, such as https://airflow.example.com/piktid/webhook",
                ),
                Argument(
                    "--store",
                    action="store_true",
                    help="put the new secret into the connection (metadata database)",
                ),
                Argument(
                    "--secret-file",
                    metavar="FILE",
                    help="write the new secret to this new file, for the owner only",
                ),
                Argument(
                    "--replace",
                    action="store_true",
                    help="replace a webhook that is set: its receiver stops working",
                ),
                CONNECTION,
                JSON,
            ),
            "Set the account's only webhook. PiktID returns its secret this once; it is stored and never printed, so "
            "--store or --secret-file is required.",
        ),
        Command("test", "webhook_test", "let PiktID send a test to the webhook", (CONNECTION, JSON)),
    ),
)

_PROBE = Command(
    "probe",
    "probe",
    "find out how the service behaves on this account",
    (
        CONNECTION,
        Argument(
            "--base-url", metavar="URL", help="instead of a connection; the token is taken from PIKTID_TOKEN"
        ),
        Argument("--v1-url", metavar="URL", help="base URL of v1 (default: of the connection, or URL/api)"),
        Argument(
            "--spend", action="store_true", help="also run one job of one picture, which costs one output"
        ),
        Argument(
            "--person", action="store_true", help="also generate one person on v1, which costs one generation"
        ),
        Argument("--yes", action="store_true", help="pay without a question"),
        Argument(
            "--picture", metavar="FILE", help="JPEG or PNG with one person (default: a drawn one, without)"
        ),
        Argument(
            "--identity", metavar="CODE", help="identity for --spend (default: the first that PiktID lists)"
        ),
        Argument(
            "--budget",
            type=float,
            default=300.0,
            metavar="S",
            help="end after so many seconds (default: 300)",
        ),
        Argument("--timeout", type=float, default=20.0, metavar="S", help="for one request (default: 20)"),
        Argument(
            "--stream-seconds",
            type=float,
            default=20.0,
            metavar="S",
            help="wait so long for a keepalive of the stream (default: 20)",
        ),
        JSON,
    ),
    "Compare the service with what its documents say, and show what it means for your settings. Free of charge "
    "without --spend and --person. The report has no secrets, links, names or account data.",
)

ROOT = Group(
    "piktid",
    "PiktID: connections, jobs, records of paid work, webhook",
    (_CHECK, _JOBS, _RECORD, _RESCUE, _WEBHOOK, _PROBE),
)
