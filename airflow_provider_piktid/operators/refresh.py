# SPDX-License-Identifier: Apache-2.0
"""Refresh a catalogue: plan, collect the outputs of each batch, summarize. Use ``task_groups.refresh``."""

from __future__ import annotations

import math
import posixpath
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import AirflowSkipException, BaseOperator, conf

from airflow_provider_piktid.common.records import CurrentTask
from airflow_provider_piktid.exceptions import PiktidConfigError
from airflow_provider_piktid.files import storage
from airflow_provider_piktid.hooks.piktid import PiktidHook
from airflow_provider_piktid.links import SHEET_URL_KEY, PiktidContactSheetLink, sheet_page
from airflow_provider_piktid.operators.base import fail_fast_if_permanent
from airflow_provider_piktid.refresh.active import end_run, working
from airflow_provider_piktid.refresh.arguments import (
    MODEL_SWAP,
    class_of,
    is_true,
    job_of,
    options_key,
    stated_price,
    whole_number,
)
from airflow_provider_piktid.refresh.batches import (
    current_entries,
    finder,
    mark_collected,
    read_jobs,
    read_uploads,
)
from airflow_provider_piktid.refresh.carry_out import carry_out
from airflow_provider_piktid.refresh.checks import check_no_overlap
from airflow_provider_piktid.refresh.collect import Collection
from airflow_provider_piktid.refresh.contact_sheet import page_uri
from airflow_provider_piktid.refresh.entries import batch_entries
from airflow_provider_piktid.refresh.plan import make_plan
from airflow_provider_piktid.refresh.plan_report import log_plan, plan_summary
from airflow_provider_piktid.refresh.request import RefreshRequest
from airflow_provider_piktid.refresh.store import CatalogueStore, run_key
from airflow_provider_piktid.refresh.summary import RunSummary, event_extra

if TYPE_CHECKING:
    from airflow_provider_piktid.files.storage import Location


class PiktidPlanRefreshOperator(BaseOperator):
    """
    Find the sources of a catalogue that have to be submitted, and split them into batches.

    Free of charge: nothing is sent to PiktID. Sources are compared with the catalogue that earlier runs wrote below
    ``output_path``, by content: ETag or checksum if the store has one, otherwise size and date; if those differ, by
    SHA-256, so that a file with a new date only is not paid for again.

    :param source: Folder, prefix or glob of JPEG and PNG images, on any store that ``ObjectStoragePath`` supports.
    :param output_path: Folder or prefix of the outputs and of the catalogue. It must not overlap with ``source``.
    :param identity_code: Identity that the jobs use. Default: none, for types of jobs without one.
    :param options: Arguments of the operator that submits the jobs. A change of those that affect the outputs makes
        all of them again. Default: none.
    :param job_type: Path of the class of the jobs, ``job_type`` of their operator. Default: the model swap.
    :param group_by: Make sources of several files, for jobs that combine their images: ``folder``, each folder below
        ``source`` that has images; or a regular expression for paths below ``source``, whose group in parentheses is
        what the images of a source share. Default: none, each image is a source.
    :param exclude: Glob patterns of sources to skip, or of images of a group. Their outputs are kept. Default: none.
    :param max_images: Maximum number of sources that one run submits. The rest is submitted by the next runs, oldest
        first. Default: no limit.
    :param max_attempts: How often a source that fails is submitted, until it changes. Default: 3.
    :param images_per_batch: Sources in one batch, which is one mapped upload, swap and collect. Default: as many as the
        account can have in its active jobs, ``images_per_job`` times ``active_jobs`` of the connection, 50, or
        ``active_jobs``, 5, if each source is a job of its own; more if there would be more batches than Airflow maps
        (``[core] max_map_length``).
    :param rerun_key: Any text; another value makes every output again. Default: none.
    :param dry_run: Log what would be done and its cost; write nothing and return no batch. Default: False.
    :param prune: Remove outputs whose source no longer exists. Default: False, report them.
    :param rebuild_missing: Buy outputs again that somebody removed from ``output_path`` and that PiktID no longer has.
        Default: False, report them.
    :param max_late_runs: How many runs try to download an output that is paid for; then its source counts as failed.
        Default: 7.
    :param credits_per_output: Credits that one output costs, for the estimate; replaced by the average of the
        catalogue once it has one. Default: the price that PiktID states, else 1.
    :param piktid_conn_id: Connection id. Default: ``piktid_default``.
    :return: URIs of the batches, for task mapping; each is a JSON file that the upload accepts as ``images``. XCom
        keys: ``summary``: counts; ``late``: URI of a batch that is paid for but not downloaded yet, or "".
    :raises PiktidConfigError: Source and output overlap, or another refresh uses this output.
    :raises PiktidImageError: There is no source.
    :raises PiktidRecordError: The catalogue was written by a newer version of this package, or another run works on
        this output.
    """

    template_fields: Sequence[str] = (
        "piktid_conn_id",
        "source",
        "output_path",
        "identity_code",
        "options",
        "exclude",
        "max_images",
        "rerun_key",
        "is_dry_run",
        "rebuild_missing",
    )
    ui_color = "#ece6ff"

    def __init__(
        self,
        *,
        source: str,
        output_path: str,
        identity_code: str | None = None,
        options: Mapping[str, Any] | None = None,
        job_type: str = MODEL_SWAP,
        group_by: str | None = None,
        exclude: str | Sequence[str] = (),
        max_images: int | str | None = None,
        max_attempts: int = 3,
        images_per_batch: int | None = None,
        rerun_key: str | None = None,
        dry_run: bool | str = False,
        prune: bool = False,
        rebuild_missing: bool | str = False,
        max_late_runs: int = 7,
        credits_per_output: float | None = None,
        piktid_conn_id: str = PiktidHook.default_conn_name,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.source = source
        self.output_path = output_path
        self.identity_code = identity_code
        self.options = options
        self.job_type = job_type
        self.group_by = group_by
        self.exclude = exclude
        self.max_images = max_images
        self.max_attempts = max_attempts
        self.images_per_batch = images_per_batch
        self.rerun_key = rerun_key
        # `BaseOperator` has a method `dry_run`.
        self.is_dry_run = dry_run
        self.prune = prune
        self.rebuild_missing = rebuild_missing
        self.max_late_runs = max_late_runs
        self.credits_per_output = credits_per_output
        self.piktid_conn_id = piktid_conn_id

    def execute(self, context: Any) -> list[str]:
        with fail_fast_if_permanent():
            settings = PiktidHook(self.piktid_conn_id).settings
            request = self._request(context, settings.images_per_job)
            store = CatalogueStore(storage.locate(self.output_path))
            check_no_overlap(request.source, request.output_path)
            with nullcontext() if request.dry_run else working(store.private, context["ti"]):
                in_a_job = 1 if request.combines else settings.images_per_job
                size = self.images_per_batch or in_a_job * settings.active_jobs
                return self._plan(context, request, store, int(size))

    def _plan(self, context: Any, request: RefreshRequest, store: CatalogueStore, size: int) -> list[str]:
        plan = make_plan(request, store, finder(self.piktid_conn_id, class_of(self.job_type)))
        entries = batch_entries(plan, request)
        summary = plan_summary(plan, request)
        log_plan(plan, summary, self.log)
        CurrentTask(context).push("summary", summary)
        if request.dry_run:
            CurrentTask(context).push("late", "")
            return []
        CurrentTask(context).push("late", carry_out(plan, request, store))
        CurrentTask(context).push("parts", sorted(store.parts()) if plan.is_first_try else None)
        size = batch_size(len(entries), size)
        batches = [entries[start : start + size] for start in range(0, len(entries), size)]
        return store.write_batches(request.run, batches)

    def _request(self, context: Any, images_per_job: int) -> RefreshRequest:
        ti = context["ti"]
        storage.check_named("source", self.source)
        storage.check_named("output_path", self.output_path)
        try:
            job = job_of(self.job_type, self.options or {}, self.identity_code, self.group_by)
        except ValueError as error:
            raise PiktidConfigError(f"{self.task_id}: {error}. Nothing was submitted.") from error
        return RefreshRequest(
            source=self.source,
            output_path=self.output_path,
            identity_code=job.identity,
            options_key=options_key(job, self.rerun_key),
            producer=f"{ti.dag_id}.{ti.task_id}",
            run=run_key(ti.dag_id, ti.task_id, ti.run_id),
            exclude=[self.exclude] if isinstance(self.exclude, str) else list(self.exclude),
            max_images=whole_number("max_images", self.max_images),
            max_attempts=self.max_attempts,
            resubmit=(self.options or {}).get("on_lost_reply") == "resubmit",
            rebuild_missing=is_true("rebuild_missing", self.rebuild_missing),
            max_late_runs=self.max_late_runs,
            prune=self.prune,
            dry_run=is_true("dry_run", self.is_dry_run),
            variations=job.outputs(1),
            price=stated_price(job) if self.credits_per_output is None else self.credits_per_output,
            combines=job.combines,
            instructions=job.variations,
            group_by=self.group_by,
            most_images=images_per_job,
        )


def batch_size(count: int, size: int) -> int:
    """Return the size of batches of which Airflow maps as many as there are."""
    most = conf.getint("core", "max_map_length", fallback=1024)
    return size if count <= size * most else size * math.ceil(count / (size * most))


class PiktidCollectRefreshOperator(BaseOperator):
    """
    Download the outputs of a batch and add them to the catalogue. Free of charge; a rerun downloads what is missing.

    Runs even if the swap failed: outputs that were paid for are downloaded, or recorded for a later run.

    :param batch: URI of the batch, as the plan returned it.
    :param output_path: ``output_path`` of the plan.
    :param upload_task_id: Task that uploaded the batch. Default: none, for the ``late`` batch of the plan.
    :param swap_task_id: Task that submitted its jobs. Default: none, for the ``late`` batch of the plan.
    :param max_concurrency: Concurrent downloads. Default: ``max_concurrency`` of the connection, 8.
    :param piktid_conn_id: Connection id. Default: ``piktid_default``.
    :return: ``{"done", "failed", "pending", "lost", "credits"}``: counts of outputs, and their credits. Skipped if
        nothing of the batch was submitted.
    :raises PiktidDownloadError: Existing outputs could not be downloaded. They are recorded; a retry downloads them.
    """

    template_fields: Sequence[str] = ("piktid_conn_id", "batch", "output_path")
    ui_color = "#ece6ff"

    def __init__(
        self,
        *,
        batch: str,
        output_path: str,
        upload_task_id: str | None = None,
        swap_task_id: str | None = None,
        max_concurrency: int | None = None,
        piktid_conn_id: str = PiktidHook.default_conn_name,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.batch = batch
        self.output_path = output_path
        self.upload_task_id = upload_task_id
        self.swap_task_id = swap_task_id
        self.max_concurrency = max_concurrency
        self.piktid_conn_id = piktid_conn_id

    def execute(self, context: Any) -> dict[str, Any]:
        if not self.batch:
            raise AirflowSkipException("No output of an earlier run is left to download.")
        with fail_fast_if_permanent():
            hook = PiktidHook(self.piktid_conn_id)
            batch = storage.locate(self.batch)
            # What upload and swap recorded beside the batch counts: XCom is lost with a killed or cleared task.
            uploads, jobs = read_uploads(batch), read_jobs(batch)
            store = CatalogueStore(storage.locate(self.output_path))
            collection = Collection(
                current_entries(batch, storage.read_json(batch) or [], lambda names: store.read(names).known),
                images=self._pull(context, self.upload_task_id, "images") if uploads is None else uploads,
                jobs=self._pull(context, self.swap_task_id, "jobs") if jobs is None else jobs,
            )
            if not collection.job_ids:
                raise AirflowSkipException("Nothing of this batch was submitted.")
            concurrency = int(self.max_concurrency or hook.settings.max_concurrency)
            part = collection.part_name(self.batch)
            store.write(part, collection.pending_rows())
            download = collection.download(self.output_path, concurrency, self.piktid_conn_id)
            with hook.get_conn() as client:
                client.run(download.run)
            rows = collection.copy(collection.rows(download), store)
            store.write(part, rows)
            mark_collected(batch, collection.job_ids)
            self.log.info("%s", counts := collection.counts(rows))
            download.raise_if_incomplete()
        return counts

    def _pull(self, context: Any, task_id: str | None, key: str) -> list[Any]:
        if task_id is None:
            return []
        ti = context["ti"]
        return ti.xcom_pull(task_ids=task_id, key=key, map_indexes=ti.map_index) or []


class PiktidRefreshSummaryOperator(BaseOperator):
    """
    Summarize a refresh: counts, contact sheet, and the asset event.

    :param plan_task_id: Task id of the plan.
    :param output_path: ``output_path`` of the plan.
    :param fail_on_partial: Fail if a single source of this run has no output. Default: False: fail if no source has
        one, otherwise warn; the next run processes the missing ones again.
    :param skip_unchanged: Skip this task if the run changed nothing, so that no asset event is sent. Default: True.
    :param contact_sheet: Write a page and a picture that show sources and outputs side by side. Default: True.
    :param browse_url: URL of ``output_path`` in a browser, for the link to the contact sheet. Default: none; the
        link is that of a page on Airflow's web server, before Airflow 3.1 the URI of the sheet.
    :return: Counts of sources and outputs, credits, and URIs of catalogue and sheet; also the extra of the event.
    :raises PiktidPartialResultError: See ``fail_on_partial``.
    """

    template_fields: Sequence[str] = ("output_path", "browse_url")
    operator_extra_links = (PiktidContactSheetLink(),)
    ui_color = "#ece6ff"

    def __init__(
        self,
        *,
        plan_task_id: str,
        output_path: str,
        fail_on_partial: bool = False,
        skip_unchanged: bool = True,
        contact_sheet: bool = True,
        browse_url: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.plan_task_id = plan_task_id
        self.output_path = output_path
        self.fail_on_partial = fail_on_partial
        self.skip_unchanged = skip_unchanged
        self.contact_sheet = contact_sheet
        self.browse_url = browse_url

    def execute(self, context: Any) -> dict[str, Any]:
        with fail_fast_if_permanent():
            planned = context["ti"].xcom_pull(task_ids=self.plan_task_id, key="summary", map_indexes=-1)
            if planned and planned["dry_run"]:
                raise AirflowSkipException("The plan was a dry run; nothing was submitted.")
            parts = context["ti"].xcom_pull(task_ids=self.plan_task_id, key="parts", map_indexes=-1)
            run = RunSummary(storage.locate(self.output_path), planned, self.plan_task_id, parts)
            sheet = run.write_sheet(self.log) if self.contact_sheet and run.rows else None
            url = self._sheet_url(run.folder, sheet, context["ti"]) if sheet else ""
            CurrentTask(context).push(SHEET_URL_KEY, url)
            totals = run.to_xcom()
            self.log.info("%s", totals)
            CurrentTask(context).push("summary", totals)
            end_run(run.private, context["ti"], self.plan_task_id)
            run.raise_if_incomplete(fail_on_partial=self.fail_on_partial, log=self.log)
            if self.skip_unchanged and run.is_unchanged:
                raise AirflowSkipException("Nothing changed; no asset event is sent.")
            for outlet in self.outlets:
                context["outlet_events"][outlet].extra = event_extra(totals)
        return totals

    def _sheet_url(self, folder: Location, sheet: Location, ti: Any) -> str:
        if not self.browse_url:
            name = posixpath.basename(sheet.path)
            return (sheet_page(ti, name) if page_uri(sheet.uri, name) else None) or sheet.uri
        return f"{self.browse_url.rstrip('/')}/{sheet.path[len(folder.path.rstrip('/')) + 1 :]}"

    def get_openlineage_facets_on_complete(self, task_instance: Any) -> Any:
        """Return source and output for OpenLineage; its provider calls this if it is installed."""
        from airflow_provider_piktid.refresh.lineage import refresh_lineage

        return refresh_lineage(task_instance.xcom_pull(task_ids=self.task_id, key="summary", map_indexes=-1))
