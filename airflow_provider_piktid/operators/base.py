# SPDX-License-Identifier: Apache-2.0
"""What operators share: permanent errors, the arguments of paid work, and the deferral of its waits."""

from __future__ import annotations

import contextlib
import time
from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import timedelta
from importlib import import_module
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from airflow.providers.common.compat.sdk import AirflowFailException, BaseOperator, conf

from airflow_provider_piktid.common.events import JobEvent
from airflow_provider_piktid.common.paid import Terms
from airflow_provider_piktid.common.protocols import PaidRun, Step, Wait, WaitKind
from airflow_provider_piktid.common.records import CurrentTask, configured_folder
from airflow_provider_piktid.exceptions import PiktidConfigError, PiktidError
from airflow_provider_piktid.files.storage import beside
from airflow_provider_piktid.hooks.piktid import PiktidHook
from airflow_provider_piktid.jobs.reuse import Purchases, options_folder
from airflow_provider_piktid.jobs.run import JobRun
from airflow_provider_piktid.jobs.submission import STATE_KEY, JobRecord
from airflow_provider_piktid.links import PiktidJobLink

if TYPE_CHECKING:
    from airflow_provider_piktid.client import PiktidClient
    from airflow_provider_piktid.models import JobType

#: Triggers are imported when a task defers, so that DAG files are parsed faster.
TRIGGERS: dict[WaitKind, tuple[str, str]] = {
    "slot": ("airflow_provider_piktid.triggers.job", "PiktidSlotTrigger"),
    "jobs": ("airflow_provider_piktid.triggers.job", "PiktidJobTrigger"),
    "versions": ("airflow_provider_piktid.triggers.regenerate", "PiktidRegenerateTrigger"),
    "generations": ("airflow_provider_piktid.triggers.generate_person", "PiktidGeneratePersonTrigger"),
}


#: Airflow's own deferral timeout is this much later than ours, because it skips the resume method.
FRAMEWORK_MARGIN_SECONDS = 300.0


@contextlib.contextmanager
def fail_fast_if_permanent() -> Iterator[None]:
    """
    Fail the task without further retries on errors that no retry can fix.

    The original error stays the cause, so that its class and fields can still be read.
    """
    try:
        yield
    except PiktidError as error:
        if error.permanent:
            raise AirflowFailException(str(error)) from error
        raise


def framework_timeout(end_time: float) -> timedelta:
    """Return the timeout for Airflow's deferral: later than ``end_time`` (epoch seconds), which is ours."""
    return timedelta(seconds=max(0.0, end_time - time.time()) + FRAMEWORK_MARGIN_SECONDS)


class PaidOperator(BaseOperator):
    """
    Do paid work once: record it before it is sent, wait in the triggerer, and attach to it in a retry.

    :param deferrable: Wait in the triggerer. Otherwise the task occupies a worker slot while it waits. Default:
        ``[operators] default_deferrable``.
    :param timeout: Seconds from the last paid request until the task stops waiting. The work continues then, and
        a retry attaches to it with a new deadline. Default: 3600.
    :param queue_timeout: Seconds to wait while the limits of the account are reached. Default: 86400, a day.
    :param fail_on_partial: Fail if single outputs failed. Default: False, log a warning.
    :param delete_notifications: Delete this task's own notifications from the account after use. Default: True.
    :param max_images: Refuse to pay for more images than this. Default: no limit.
    :param max_credits: Refuse to submit if the estimated credits exceed this. Default: no limit.
    :param credits_per_output: Credits that one output costs, for ``max_credits``. Default: the price that PiktID
        states, else 1.
    :param state_path: Folder for the record of paid requests, on any object storage. Default:
        ``[piktid] state_path``, else Airflow's task state store (3.3+), else none.
    :param rerun_key: Any text; another value submits the same work again, which is billed. Default: none.
    :param on_lost_reply: What to do if the reply to a paid request was lost and PiktID does not list the request:
        ``fail``, or ``resubmit`` once at the risk of paying twice. Default: ``fail``.
    :param lost_reply_grace: Seconds to wait before treating PiktID's job list as complete after a lost reply.
        Default: 30.
    :param piktid_conn_id: Connection id. Default: ``piktid_default``.
    """

    template_fields: Sequence[str] = (
        "piktid_conn_id",
        "state_path",
        "rerun_key",
        "max_images",
        "max_credits",
    )
    ui_color = "#ece6ff"

    def __init__(
        self,
        *,
        deferrable: bool = conf.getboolean("operators", "default_deferrable", fallback=False),
        timeout: float = 3600.0,
        queue_timeout: float = 86400.0,
        fail_on_partial: bool = False,
        delete_notifications: bool = True,
        max_images: int | None = None,
        max_credits: float | None = None,
        credits_per_output: float | None = None,
        state_path: str | None = None,
        rerun_key: str | None = None,
        on_lost_reply: Literal["fail", "resubmit"] = "fail",
        lost_reply_grace: float = 30.0,
        piktid_conn_id: str = PiktidHook.default_conn_name,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.deferrable = deferrable
        self.timeout = timeout
        self.queue_timeout = queue_timeout
        self.fail_on_partial = fail_on_partial
        self.delete_notifications = delete_notifications
        self.max_images = max_images
        self.max_credits = max_credits
        self.credits_per_output = credits_per_output
        self.state_path = state_path
        self.rerun_key = rerun_key
        self.on_lost_reply = on_lost_reply
        self.lost_reply_grace = lost_reply_grace
        self.piktid_conn_id = piktid_conn_id
        self._run: PaidRun | None = None

    def _open_client(self, hook: PiktidHook) -> AbstractContextManager[Any]:
        """Return the client of the API that this operator uses: that of v2."""
        return hook.get_conn()

    @abstractmethod
    def _make_run(self, task: CurrentTask, hook: PiktidHook, client: Any) -> PaidRun:
        """Return a run with the checked arguments."""

    def execute(self, context: Any) -> Any:
        return self._work(context, lambda run: run.begin())

    def execute_complete(self, context: Any, event: Any) -> Any:
        """Continue after a wait."""
        return self._work(context, lambda run: run.resume(JobEvent.from_json(event)))

    def on_kill(self) -> None:
        """Log what is still running: PiktID cannot cancel it."""
        if self._run is not None and self._run.outstanding:
            self.log.warning(
                "Task stopped; %s are still running and will be billed, as PiktID cannot cancel them. The next try, "
                "or a clear, attaches to them.",
                "; ".join(self._run.outstanding),
            )

    def _work(self, context: Any, start: Callable[[PaidRun], Step]) -> Any:
        with fail_fast_if_permanent():
            hook = PiktidHook(self.piktid_conn_id)
            with self._open_client(hook) as client:
                run = self._run = self._make_run(CurrentTask(context), hook, client)
                try:
                    return self._to_the_end(run, start(run))
                finally:
                    run.leave()

    def _to_the_end(self, run: PaidRun, step: Step) -> Any:
        while isinstance(step, Wait):
            self.log.info(step.message)
            if self.deferrable:
                self._defer(step)
            step = run.resume(step.here())
        return step.result

    def _defer(self, wait: Wait) -> None:
        module, name = TRIGGERS[wait.kind]
        trigger = getattr(import_module(module), name)(**wait.arguments)
        self.defer(trigger=trigger, method_name="execute_complete", timeout=framework_timeout(wait.until))

    def _parts(
        self,
        task: CurrentTask,
        hook: PiktidHook,
        client: Any,
        key: str,
        parse: Callable[[Any], Any],
        *,
        folder: str | None = None,
        **place: Any,
    ) -> dict[str, Any]:
        """
        Return what every kind of run takes besides its arguments.

        :param key: Of the record in Airflow's task state store.
        :param parse: Reads the record.
        :param folder: Where the record is kept instead of ``state_path``. Default: there.
        :param place: Further arguments of :meth:`CurrentTask.open_store`.
        """
        return {
            "task": task,
            "settings": hook.settings,
            "client": client,
            "store": task.open_store(folder or self.state_path, key, parse, **place),
            "log": self.log,
        }

    def _terms(self, poll_interval: float = Terms.poll_interval) -> Terms:
        terms = Terms(
            connection=self.piktid_conn_id,
            deferrable=self.deferrable,
            poll_interval=poll_interval,
            timeout=self.timeout,
            queue_timeout=self.queue_timeout,
            fail_on_partial=self.fail_on_partial,
            delete_notifications=self.delete_notifications,
            max_images=self.max_images,
            max_credits=self.max_credits,
            credits_per_output=self.credits_per_output,
            rerun_key=self.rerun_key,
            on_lost_reply=self.on_lost_reply,
            lost_reply_grace=self.lost_reply_grace,
        )
        terms.check()
        return terms


class JobOperator(PaidOperator):
    """
    Submit paid v2 jobs of one type, each once, and wait for them.

    A subclass names its job type and takes its arguments, and does no more. Those of jobs that are made of images
    extend :class:`PaidJobOperator`.

    :param poll_interval: Seconds between status requests while the notification stream is down, 3 or more.
        Default: 10.
    :param record_beside: URI of a ``.json`` file; the record is kept beside it, as ``<name>.jobs.json``, instead of
        in ``state_path``. A refresh keeps it where its next run looks. Default: none.
    :param wait_for_completion: Wait for the jobs. If False, return once all are submitted. Default: True.
    """

    template_fields: Sequence[str] = (*PaidOperator.template_fields, "record_beside")
    operator_extra_links = (PiktidJobLink(),)

    #: Path of the job type's class. It is imported when the task runs: parsing a DAG file need not pay for it.
    job_type: ClassVar[str]

    def __init__(
        self,
        *,
        poll_interval: float = 10.0,
        record_beside: str | None = None,
        wait_for_completion: bool = True,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.poll_interval = poll_interval
        self.record_beside = record_beside
        self.wait_for_completion = wait_for_completion

    def _job_type(self) -> JobType:
        """
        Return the job type with this operator's arguments of the same names.

        :raises PiktidConfigError: An argument is invalid.
        """
        module, _, name = self.job_type.rpartition(".")
        job_type: type[JobType] = getattr(import_module(module), name)
        try:
            return job_type.from_arguments(vars(self))
        except ValueError as error:
            raise PiktidConfigError(f"{self.task_id}: {error}. Nothing was submitted.") from error

    def _job_run(
        self,
        job: JobType,
        images: Any,
        task: CurrentTask,
        hook: PiktidHook,
        client: PiktidClient,
        *,
        folder: str | None = None,
        **options: Any,
    ) -> JobRun:
        """
        Return a run of these jobs.

        :param folder: Where the record is kept instead of ``state_path``. Default: there.
        :param options: Further arguments of the run.
        """
        return JobRun(
            job,
            images,
            self._terms(self.poll_interval),
            wait_for_completion=self.wait_for_completion,
            **options,
            **self._parts(
                task,
                hook,
                client,
                STATE_KEY,
                JobRecord.from_json,
                folder=folder,
                record_path=beside(self.record_beside, "jobs") if self.record_beside else None,
            ),
        )


class PaidJobOperator(JobOperator):
    """
    Submit images as paid v2 jobs, each once, and wait for them.

    A subclass names its job type and takes its arguments, and does no more.

    :param project_id: Project of the images, as the upload returned it.
    :param images: ``file_id`` values, or rows of an upload, any number; split into jobs of at most ``images_per_job``
        of the connection (default 10). Order is kept.
    :param reuse: Buy the same pictures with the same options once in all DAG runs: outputs that another task bought
        with ``reuse`` and the same ``state_path`` are used again. Needs a ``state_path`` and the rows of the upload,
        ``images=upload.output["images"]``. XCom key ``images``: the rows for the download. Default: False.
    :param check_identity: Look up the identity before paying, so that a typo costs nothing. Default: True.

    Further parameters are those of ``JobOperator`` and ``PaidOperator``.

    :return: Job ids in the order of the images. XCom keys: ``summary``, counts and credits; also of a task that
        failed, ``job_ids`` once all are submitted, and ``jobs``, ``[job id or None, number of images]`` in order.
    """

    template_fields: Sequence[str] = (*JobOperator.template_fields, "project_id", "images")

    def __init__(
        self,
        *,
        project_id: str,
        images: Sequence[str | Mapping[str, Any]],
        reuse: bool = False,
        check_identity: bool = True,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.project_id = project_id
        self.images = images
        self.reuse = reuse
        self.check_identity = check_identity

    def _shared_folder(self, job: JobType, terms: Terms) -> str:
        """Return the folder of the records of all tasks that reuse what this one buys."""
        if job.combines:
            raise PiktidConfigError(
                f"{self.task_id}: reuse=True works image by image, and a {job.noun} job combines its images. "
                "Remove it; the record keeps a retry from paying again. Nothing was submitted."
            )
        state_path = self.state_path or configured_folder()
        if not state_path or self.record_beside:
            raise PiktidConfigError(
                f"{self.task_id}: reuse=True needs a `state_path`, or [piktid] state_path, in which tasks find what "
                "others have bought, and no `record_beside`. Nothing was submitted."
            )
        return options_folder(state_path, job, terms)

    def _make_run(self, task: CurrentTask, hook: PiktidHook, client: PiktidClient) -> JobRun:
        job = self._job_type()
        if not job.project_id:
            raise PiktidConfigError(
                f'{self.task_id}: project_id is empty ({job.project_id!r}). Pass `upload.output["project_id"]`, where '
                "`upload` is the task that uploaded the images. Nothing was submitted."
            )
        terms = self._terms(self.poll_interval)
        folder = self._shared_folder(job, terms) if self.reuse else None
        return self._job_run(
            job,
            self.images,
            task,
            hook,
            client,
            folder=folder,
            purchases=Purchases(folder, job, terms, client) if folder else None,
            check_identity=self.check_identity,
        )
