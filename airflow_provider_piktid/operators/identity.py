# SPDX-License-Identifier: Apache-2.0
"""Upload an identity to swap in, or let PiktID create one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import BaseOperator

from airflow_provider_piktid.common.records import CurrentTask
from airflow_provider_piktid.exceptions import PiktidConfigError, PiktidImageError
from airflow_provider_piktid.files import storage
from airflow_provider_piktid.files.formats import V2_FORMATS
from airflow_provider_piktid.files.search import find_images
from airflow_provider_piktid.hooks.piktid import PiktidHook
from airflow_provider_piktid.jobs.identity_run import IdentityRun
from airflow_provider_piktid.jobs.outcome import job_id_list
from airflow_provider_piktid.jobs.preprocessing import wait_until_preprocessed
from airflow_provider_piktid.jobs.promotion import STATE_KEY, PromotionRecord, draft_number
from airflow_provider_piktid.jobs.promotion_run import PROMOTION_CREDITS, PromotionRun
from airflow_provider_piktid.operators.base import JobOperator, PaidOperator, fail_fast_if_permanent

if TYPE_CHECKING:
    from airflow_provider_piktid.client import PiktidClient


class PiktidUploadIdentityOperator(BaseOperator):
    """
    Upload a portrait as an identity. Safe to repeat: if the name exists, the existing identity is returned.

    :param image: Path or URI of a JPEG or PNG image with exactly one clearly visible face.
    :param name: Name of the identity, unique in the account. Default: the name of the file without its extension.
    :param tag: Tag of the identity. Default: none.
    :param wait_for_preprocessing: Wait until PiktID has preprocessed the identity. This occupies a worker slot,
        typically for some seconds. Default: False, as PiktID's client does not wait.
    :param timeout: Seconds to wait for preprocessing. Default: 600, from PiktID's clients.
    :param poll_interval: Seconds between two status requests. Default: 5.
    :param piktid_conn_id: Connection id. Default: ``piktid_default``.
    :return: The ``identity_code``.
    :raises PiktidImageError: The file is not a supported image, or ``image`` matches several files.
    :raises PiktidQuotaError: The account has reached its limit of identities.
    """

    template_fields: Sequence[str] = ("piktid_conn_id", "image", "name", "tag")
    ui_color = "#ece6ff"

    def __init__(
        self,
        *,
        image: str,
        name: str | None = None,
        tag: str | None = None,
        wait_for_preprocessing: bool = False,
        timeout: float = 600.0,
        poll_interval: float = 5.0,
        piktid_conn_id: str = PiktidHook.default_conn_name,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.image = image
        self.name = name
        self.tag = tag
        self.wait_for_preprocessing = wait_for_preprocessing
        self.timeout = timeout
        self.poll_interval = poll_interval
        self.piktid_conn_id = piktid_conn_id

    def execute(self, context: Any) -> str:
        with fail_fast_if_permanent():
            files = find_images(self.image, formats=V2_FORMATS, name="image")
            if len(files) != 1:
                raise PiktidImageError(
                    f"{self.image} matches {len(files)} images, but an identity needs exactly one. Pass one file."
                )
            storage.check_images(files, V2_FORMATS)
            file = files[0]
            filename = file.relative.rsplit("/", 1)[-1]
            name = self.name or filename.rsplit(".", 1)[0]
            with PiktidHook(self.piktid_conn_id).get_conn() as client:
                content = bytes(file.location.fs.cat_file(file.location.path))
                identity = client.upload_identity(filename, content, name=name, tag=self.tag)
                self.log.info("Identity %s is %s.", name, identity.identity_code)
                if self.wait_for_preprocessing:
                    wait_until_preprocessed(
                        client,
                        identity.identity_code,
                        connection=self.piktid_conn_id,
                        timeout=self.timeout,
                        poll_interval=self.poll_interval,
                    )
            return identity.identity_code


class PiktidCreateIdentityOperator(JobOperator):
    """
    Let PiktID draw drafts of a new identity from a brief, and promote one of them if asked to.

    Each draft costs credits, and the promotion 50 more. A retry or a clear with unchanged input attaches to the drafts
    and to the identity of an earlier try instead of paying again; another ``promote`` buys no new drafts.

    :param instructions: One to ten mappings, each one person: any of ``appearance``, ``face`` and ``hair`` (mappings)
        and ``prompt``, which takes precedence; ``input_assets``, up to three ``file_id`` values; ``num_variations`` (1
        to 8), the number of drafts; ``options``: ``size`` (1K, 2K, 4K), ``ar``, ``format`` (png, jpg).
    :param name: Name of the identity; if it is taken, PiktID adds a number. Default: PiktID decides.
    :param promote: Number of the draft to make an identity of, among those that have a picture: 0 is the first one.
        This costs 50 credits. Default: none, drafts only.
    :param wait_for_preprocessing: After a promotion, wait until PiktID has preprocessed the identity. Default: True.
    :param model: Engine: ``auto``, ``nano_banana_pro``, ``seedream`` or ``orbita`` (1K only). Another one needs
        ``force_model=True``. Default: ``auto``.
    :param extra: More fields of the request, passed through. Default: none.
    :param force_model: Send a ``model`` that this package does not know. Default: False.

    Further parameters, such as ``timeout``, ``deferrable``, ``state_path``, ``max_credits``, are those of
    ``JobOperator`` and ``PaidOperator``.

    :return: Job ids. XCom keys: ``identity_code`` if promoted; ``drafts``, one row for each draft with its number; and
        those of the other jobs, such as ``summary``.
    :raises PiktidConfigError: No draft has the number ``promote``. The drafts are not bought again.
    :raises PiktidQuotaError: The account has reached its limit of identities; the drafts can be promoted later.
    """

    job_type = "airflow_provider_piktid.models.identity_creation.IdentityCreation"
    template_fields: Sequence[str] = (
        *JobOperator.template_fields,
        "instructions",
        "name",
        "promote",
        "model",
        "extra",
    )

    def __init__(
        self,
        *,
        instructions: Sequence[Mapping[str, Any]],
        name: str | None = None,
        promote: int | str | None = None,
        wait_for_preprocessing: bool = True,
        model: str = "auto",
        extra: Mapping[str, Any] | None = None,
        force_model: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.instructions = instructions
        self.name = name
        self.promote = promote
        self.wait_for_preprocessing = wait_for_preprocessing
        self.model = model
        self.extra = extra
        self.force_model = force_model

    def _make_run(self, task: CurrentTask, hook: PiktidHook, client: PiktidClient) -> IdentityRun:
        job = self._job_type()
        drafts = job.outputs(0)
        # A template that is none renders to this text.
        number = None if self.promote in (None, "", "None") else draft_number(self.promote, "promote")
        if number is not None and number >= drafts:
            raise PiktidConfigError(
                f"{self.task_id}: promote={number} needs more than {number} drafts, and instructions ask for {drafts}. "
                "The first one is 0. Nothing was submitted."
            )
        if number is not None and not self.wait_for_completion:
            raise PiktidConfigError(
                f"{self.task_id}: promote needs the drafts, so remove wait_for_completion=False, or promote with "
                "PiktidPromoteIdentityOperator later. Nothing was submitted."
            )
        promotion = None
        if number is not None:
            promotion = PromotionRun(
                number,
                None,
                self._terms(self.poll_interval),
                argument="promote",
                wait_for_preprocessing=self.wait_for_preprocessing,
                bought=(drafts, job.credits_per_output),
                **self._parts(task, hook, client, STATE_KEY, PromotionRecord.from_json),
            )
        more_credits = 0.0 if number is None else PROMOTION_CREDITS
        return IdentityRun(
            self._job_run(job, [], task, hook, client, more_credits=more_credits),
            promotion,
            task=task,
            client=client,
            wait_for_completion=self.wait_for_completion,
        )


class PiktidPromoteIdentityOperator(PaidOperator):
    """
    Make an identity of a draft, for example of one that a person chose. This costs 50 credits.

    PiktID promotes a draft once. If it was promoted before, by whomever, the identity is returned and nothing is paid.

    :param job_ids: Jobs of the drafts, as ``PiktidCreateIdentityOperator`` returned them.
    :param draft: Number of the draft among those that have a picture, from 0, as in that operator's XCom ``drafts``.
    :param name: Name of the identity, unique in the account. Default: that of the job, with a number if it is taken.
    :param wait_for_preprocessing: Wait until PiktID has preprocessed the identity. Default: True.
    :param poll_interval: Seconds between two status requests, 3 or more. Default: 10.

    Further parameters are those of ``PaidOperator``.

    :return: The ``identity_code``.
    :raises PiktidConfigError: The draft does not exist.
    :raises PiktidConflictError: Another identity has the name.
    :raises PiktidQuotaError: The account has reached its limit of identities.
    """

    template_fields: Sequence[str] = (*PaidOperator.template_fields, "job_ids", "draft", "name")

    def __init__(
        self,
        *,
        job_ids: Sequence[str],
        draft: int | str,
        name: str | None = None,
        wait_for_preprocessing: bool = True,
        poll_interval: float = 10.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.job_ids = job_ids
        self.draft = draft
        self.name = name
        self.wait_for_preprocessing = wait_for_preprocessing
        self.poll_interval = poll_interval

    def _make_run(self, task: CurrentTask, hook: PiktidHook, client: PiktidClient) -> PromotionRun:
        return PromotionRun(
            draft_number(self.draft, "draft"),
            self.name or None,
            self._terms(self.poll_interval),
            job_ids=job_id_list(self.job_ids, "promote a draft of"),
            wait_for_preprocessing=self.wait_for_preprocessing,
            **self._parts(task, hook, client, STATE_KEY, PromotionRecord.from_json),
        )
