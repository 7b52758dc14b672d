# SPDX-License-Identifier: Apache-2.0
"""Replace persons in a picture by generated ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from airflow.providers.common.compat.sdk import BaseOperator, conf

from airflow_provider_piktid.common.events import JobEvent
from airflow_provider_piktid.common.task import steer
from airflow_provider_piktid.exceptions import PiktidError
from airflow_provider_piktid.hooks.piktid import PiktidHook
from airflow_provider_piktid.person.run import PersonRun


class PiktidGeneratePersonOperator(BaseOperator):
    """
    Replace persons in one picture, once for each person and keyword. Each of these costs credits.

    A retry pays only for what is missing: every paid request is recorded before it is sent.

    :param keywords: One or several of ``{"Location": "Oceania"}`` or the plain word ``Oceania``.
    :param image: Path or URI of a WEBP, JPEG or PNG picture on any store that ``ObjectStoragePath`` knows, or an
        http(s) address that PiktID fetches it from.
    :param id_image: Instead of ``image``: a picture that was uploaded within the last 24 hours.
    :param persons: ``all`` (default), ``largest``, or a list of person ids as PiktID numbers them, from 0.
    :param output_path: Folder or prefix that results are downloaded to, as soon as they are there. Without it they
        stay at PiktID, which tells about them for 10 minutes only.
    :param options: Passed through to PiktID, such as ``{"seed": 7}``.
    :param stagger: Seconds between the first request of the picture and the others. Default 15, as documented.
    :param unusable: What to do with persons whose face is too blurry: ``skip`` them (default), or ``fail``.
    :param allow_unknown_keywords: Send keywords that the documents do not list.
    :param fail_on_partial: Fail if single generations failed; default: warn. What was generated is kept anyway.
    :param deferrable: Wait in the triggerer. Default: ``[operators] default_deferrable``. The other way holds a
        worker slot all the time.
    :param timeout: Seconds from a request until its result is given up. Default 1800.
    :param queue_timeout: Seconds to wait for an account that takes no more requests. Default 3600.
    :param delete_notifications: Delete this task's own notifications once their results are safe.
    :param push_links: Put the result links into XCom. They open to whoever has them, and expire. Default false.
    :param max_generations: Refuse to pay for more generations than this. Default: no limit.
    :param state_path: Folder for the record of paid requests, on any object storage. Default:
        ``[piktid] state_path``, else Airflow's task state store (3.3+), else ``_piktid`` below ``output_path``.
    :param generation: Any text; another value buys the same persons again.
    :param on_ambiguous: When nothing shows what became of a request: ``fail``, or ``resubmit`` once at the risk of
        paying twice.
    :param ambiguous_grace: Seconds to look for the result of a request whose reply was lost. Default 300.
    :param piktid_conn_id: Connection id.
    :return: List of ``{id_image, id_person, keyword, url, file}``. ``file`` is a URI, None without ``output_path``;
        ``url`` is None unless ``push_links`` is set. XCom key ``summary``: counts, and what failed.
    """

    template_fields: Sequence[str] = (
        "piktid_conn_id",
        "image",
        "id_image",
        "keywords",
        "persons",
        "output_path",
        "options",
        "state_path",
        "generation",
        "max_generations",
    )
    ui_color = "#ece6ff"

    def __init__(
        self,
        *,
        keywords: Sequence[Mapping[str, str] | str] | Mapping[str, str] | str,
        image: str | None = None,
        id_image: str | None = None,
        persons: str | Sequence[int] = "all",
        output_path: str | None = None,
        options: Mapping[str, Any] | None = None,
        stagger: float = 15.0,
        unusable: Literal["skip", "fail"] = "skip",
        allow_unknown_keywords: bool = False,
        fail_on_partial: bool = False,
        deferrable: bool = conf.getboolean("operators", "default_deferrable", fallback=False),
        timeout: float = 1800.0,
        queue_timeout: float = 3600.0,
        delete_notifications: bool = True,
        push_links: bool = False,
        max_generations: int | None = None,
        state_path: str | None = None,
        generation: str | None = None,
        on_ambiguous: Literal["fail", "resubmit"] = "fail",
        ambiguous_grace: float = 300.0,
        piktid_conn_id: str = PiktidHook.default_conn_name,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.keywords = keywords
        self.image = image
        self.id_image = id_image
        self.persons = persons
        self.output_path = output_path
        self.options = options
        self.stagger = stagger
        self.unusable = unusable
        self.allow_unknown_keywords = allow_unknown_keywords
        self.fail_on_partial = fail_on_partial
        self.deferrable = deferrable
        self.timeout = timeout
        self.queue_timeout = queue_timeout
        self.delete_notifications = delete_notifications
        self.push_links = push_links
        self.max_generations = max_generations
        self.state_path = state_path
        self.generation = generation
        self.on_ambiguous = on_ambiguous
        self.ambiguous_grace = ambiguous_grace
        self.piktid_conn_id = piktid_conn_id
        self._running: list[str] = []

    def execute(self, context: Any) -> list[dict[str, Any]]:
        with steer():
            run = PersonRun(self, context)
            with run.hook.get_v1_client() as run.client:
                run.begin()
                return run.proceed()

    def execute_complete(self, context: Any, event: Any) -> list[dict[str, Any]]:
        """Fetch what is there after a wait, and go on."""
        with steer():
            answer = JobEvent.from_json(event, expected=("done", "slot", "timeout", "error"))
            run = PersonRun(self, context)
            run.resume(answer.carry.get("record"))
            if answer.status == "error":
                error = PiktidError(
                    f"{answer.message} What was asked for goes on at PiktID; a retry looks for it."
                )
                error.permanent = answer.permanent
                raise error
            with run.hook.get_v1_client() as run.client:
                run.collect_ended(answer.ended)
                return run.proceed()

    def on_kill(self) -> None:
        """Tell what still runs. PiktID has no way to cancel a generation."""
        if self._running:
            self.log.warning(
                "This task was ended, its generations were not: %s still run and bill, as PiktID cannot cancel them. "
                "Their results are announced for 10 minutes; the next try looks for them.",
                "; ".join(self._running),
            )
