# SPDX-License-Identifier: Apache-2.0
"""Arguments of a refresh that have to be read: the type of its jobs, and values that are templates."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

from airflow_provider_piktid.common.records import fingerprint
from airflow_provider_piktid.exceptions import PiktidConfigError
from airflow_provider_piktid.refresh.groups import check_group_by

if TYPE_CHECKING:
    from airflow_provider_piktid.models import JobType

#: The type of jobs unless another one is named.
MODEL_SWAP: Final = "airflow_provider_piktid.models.model_swap.ModelSwap"

#: Arguments of operators that a refresh refuses. A file id is another one in each night: outputs would all be bought
#: again.
WITH_FILE_IDS: Final = ("reference_image", "notes")

#: What the text of a rendered template means.
SWITCHES: Final = dict.fromkeys(("true", "1", "yes", "on"), True) | dict.fromkeys(
    ("false", "0", "no", "off", "none", ""), False
)


def class_of(path: str) -> type[JobType]:
    """Return the class of a type of job: parsing a DAG file need not import it."""
    module, _, name = path.rpartition(".")
    found: type[JobType] = getattr(import_module(module), name)
    return found


def job_of(
    path: str, options: Mapping[str, Any], identity_code: str | None, group_by: str | None = None
) -> JobType:
    """
    Return type and options of the jobs of a refresh.

    :param path: Path of the class.
    :param options: Arguments of the operator; those that do not affect the outputs are ignored.
    :param group_by: How files become sources. Default: each is one.
    :raises ValueError: The type does not accept one.
    """
    check_no_file_ids(options)
    check_group_by(group_by)
    job = class_of(path).from_arguments({**options, "identity_code": identity_code})
    if group_by is not None and not job.combines:
        raise ValueError(f"group_by is for jobs that combine their images, and a {job.noun} job does not")
    return job


def check_no_file_ids(options: Collection[str]) -> None:
    """
    Check that no argument names files at PiktID.

    :raises ValueError: One does.
    """
    for name in WITH_FILE_IDS:
        if name in options:
            raise ValueError(
                f"{name} needs file ids, and a refresh uploads files with new ids: every output would be bought again "
                "each time. Say it in words instead"
            )


def options_key(job: JobType, rerun_key: str | None = None) -> str:
    """
    Return a digest of everything that determines the outputs of a source.

    Passing an option with its default value and leaving it out give the same digest.

    :param job: Type and options of the job.
    :param rerun_key: Any text; another value makes every output again. Default: none.
    """
    content = job.content()
    if job.variations:
        content["instructions"] = [_without_default(item) for item in content["instructions"]]
    return fingerprint({"rerun_key": rerun_key, **content})[:16]


def _without_default(instruction: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in instruction.items() if (name, value) != ("num_variations", 1)}


def stated_price(job: JobType) -> float | None:
    """Return the credits of one output; None if PiktID states no price for this type of job."""
    from airflow_provider_piktid.models import JobType

    is_stated = type(job).credits_per_output is not JobType.credits_per_output
    return job.credits_per_output if is_stated else None


def whole_number(name: str, value: Any) -> int | None:
    """Return a number from 1 that may be the text of a rendered template; None if there is none."""
    if value in (None, ""):
        return None
    try:
        limit = int(str(value))
    except ValueError:
        raise PiktidConfigError(f"{name} must be a whole number, not {value!r}.") from None
    if limit < 1:
        raise PiktidConfigError(f"{name} must be 1 or more, not {limit}. Use `dry_run` to submit nothing.")
    return limit


def is_true(name: str, value: Any) -> bool:
    """Return a boolean that may be the text of a rendered template."""
    word = str(value).strip().lower()
    if word not in SWITCHES:
        # Taken for False, a word in `dry_run` would buy.
        raise PiktidConfigError(f"{name} must be True or False, not {value!r}.")
    return SWITCHES[word]
