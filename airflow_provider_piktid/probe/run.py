# SPDX-License-Identifier: Apache-2.0
"""Run the steps of a probe. A step that fails says why its facts are not known; the others go on."""

from __future__ import annotations

import io
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from airflow_provider_piktid.probe import free, history, person, spend
from airflow_provider_piktid.probe.facts import FACTS
from airflow_provider_piktid.probe.findings import Findings, report
from airflow_provider_piktid.probe.free import Probe
from airflow_provider_piktid.probe.session import OutOfBudget, ProbeError, Session

#: Each free step, and the facts that it is for.
STEPS: tuple[tuple[str, Callable[[Probe], None], tuple[str, ...]], ...] = (
    ("reading statuses", free.statuses, ("unauthorized", "unknown_job", "validation_status")),
    (
        "creating a project",
        free.project,
        ("project_status", "project_conflict", "unknown_fields", "project_ids"),
    ),
    ("uploading a picture", free.upload, ("upload_strict", "echo_project", "upload_put", "file_life")),
    ("polling notifications", free.notifications, ("notifications_post",)),
    ("reading the stream", free.stream, ("stream", "keepalive")),
    ("reading the account", free.account, ("webhook_get", "billing")),
)

SPEND_FACTS = tuple(name for name, fact in FACTS.items() if fact.needs == "spend")
HISTORY_FACTS = tuple(name for name, fact in FACTS.items() if fact.needs == "history")
PERSON_FACTS = tuple(name for name, fact in FACTS.items() if fact.needs == "person")

#: Price of one generation of v1, as PiktID's documents and its example accounts suggest; no source states it.
GENERATION_CREDITS = 1.0


@dataclass(frozen=True)
class Plan:
    """
    What to probe.

    :param token: API token of v2; None leaves v2 out.
    :param v1_login: E-mail and password of v1, for ``person``.
    :param v1_token: Access token of v1, instead.
    :param spend: Run one job. Default: False.
    :param person: Run one generation. Default: False.
    :param picture: Encoded picture. Default: a drawn one.
    :param identity: Identity of the job. Default: the first that PiktID lists.
    :param budget: Seconds for the whole run. Default: 300.
    """

    base_url: str
    v1_url: str
    token: str | None = field(default=None, repr=False)
    v1_login: tuple[str, str] | None = field(default=None, repr=False)
    v1_token: str | None = field(default=None, repr=False)
    spend: bool = False
    person: bool = False
    picture: bytes | None = field(default=None, repr=False)
    identity: str | None = None
    budget: float = 300.0
    timeout: float = 20.0
    stream_seconds: float = free.STREAM_SECONDS


def run_probe(plan: Plan, say: Callable[[str], None] = lambda text: None) -> dict[str, Any]:
    """
    Probe a service; return the report, whatever the service does.

    :param say: Called with what is being done.
    """
    findings, requests, began = Findings(), 0, time.monotonic()
    picture = plan.picture or drawn_picture()
    if plan.token:
        with Session(
            plan.base_url, f"Bearer {plan.token}", timeout=plan.timeout, budget=plan.budget
        ) as session:
            probe = Probe(session, findings, picture, plan.identity, plan.stream_seconds)
            _run_v2(probe, plan, say)
            requests += session.requests
    else:
        findings.unknown((*_free_facts(), *HISTORY_FACTS, *SPEND_FACTS), "there is no API token of v2")
    if plan.person:
        with Session(plan.v1_url, None, timeout=plan.timeout, budget=plan.budget) as session:
            _run_v1(session, findings, plan, picture, say)
            requests += session.requests
    return report(findings, requests=requests, seconds=time.monotonic() - began, advice=advise(findings))


def _free_facts() -> tuple[str, ...]:
    return tuple(name for _, _, facts in STEPS for name in facts)


def _run_v2(probe: Probe, plan: Plan, say: Callable[[str], None]) -> None:
    findings = probe.findings
    try:
        if not _step(probe, "checking the token", free.access, ()):
            findings.unknown((*_free_facts(), *HISTORY_FACTS, *SPEND_FACTS), findings.ended)
            return
        for title, step, facts in STEPS:
            say(title)
            _step(probe, title, step, facts)
        if plan.spend:
            say("running one job")
            _step(probe, "running one job", spend.spend, SPEND_FACTS)
        say("reading ended jobs")
        _step(probe, "reading ended jobs", history.history, HISTORY_FACTS)
    except OutOfBudget as error:
        findings.ended = str(error)
        needs = (*SPEND_FACTS, *HISTORY_FACTS) if plan.spend else HISTORY_FACTS
        findings.unknown((*_free_facts(), *needs), str(error))
    free.headers(probe)


def _step(probe: Probe, title: str, step: Callable[[Probe], None], facts: tuple[str, ...]) -> bool:
    """Run a step; return whether it went to its end."""
    try:
        step(probe)
    except OutOfBudget:
        raise
    except ProbeError as error:
        reason = str(error)
    except Exception as error:  # noqa: BLE001 - a service may answer anything; its words are not shown
        reason = f"an answer has an unexpected shape ({type(error).__name__})"
        probe.findings.surprise(f"{title}: {reason}")
    else:
        return True
    probe.findings.unknown(facts, reason)
    if not facts:
        probe.findings.ended = reason
    return False


def _run_v1(
    session: Session, findings: Findings, plan: Plan, picture: bytes, say: Callable[[str], None]
) -> None:
    say("generating one person")
    try:
        if plan.v1_login:
            person.log_in(session, plan.v1_login)
        elif plan.v1_token:
            session.authorize(f"Bearer {plan.v1_token}")
        person.person(session, findings, picture, GENERATION_CREDITS)
    except ProbeError as error:
        findings.unknown(PERSON_FACTS, str(error))
    except Exception as error:  # noqa: BLE001 - as above
        findings.unknown(PERSON_FACTS, f"an answer has an unexpected shape ({type(error).__name__})")


def drawn_picture() -> bytes:
    """Return a tiny JPEG of two colours: free steps need no person in it."""
    from PIL import Image

    buffer = io.BytesIO()
    picture = Image.new("RGB", (64, 64), "white")
    picture.paste((120, 160, 200), (16, 16, 48, 48))
    picture.save(buffer, "JPEG")
    return buffer.getvalue()


def advise(findings: Findings) -> list[str]:
    """Return what to set on this account, ready to paste, as far as it follows from what was seen."""
    answers = {name: next(iter(found)) for name, found in findings.seen.items() if len(found) == 1}
    seen = {name: next(iter(found.values())) for name, found in findings.seen.items()}
    rules = (
        (answers.get("gallery_pending") == "hidden", "operators: lost_reply_grace=300"),
        (
            answers.get("gallery_pending") == "listed",
            "operators: state_path=<folder>, and on_lost_reply='fail' (default)",
        ),
        (answers.get("stream") == "absent", "operators: poll_interval=15"),
        (answers.get("zip_life") == "less", "download: archive=False (default)"),
        (
            answers.get("upload_strict") == "on",
            "upload: send project_name; report this, as this package does not yet",
        ),
    )
    advice = [text for holds, text in rules if holds]
    if answers.get("price") == "stated":
        advice.append(f"operators: credits_per_output={seen['price'].split()[0]}")
    return advice
