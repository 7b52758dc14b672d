# SPDX-License-Identifier: Apache-2.0
"""The identity operator: naming, existing identities, preprocessing and invalid input."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException

from airflow_provider_piktid.emulator import EmulatorServer
from airflow_provider_piktid.exceptions import PiktidImageError, PiktidJobTimeout, PiktidQuotaError
from airflow_provider_piktid.operators.identity import PiktidUploadIdentityOperator
from tests.support.fixtures import Start
from tests.support.service import picture
from tests.support.tasks import TaskRun


def identity(image: Path | str, **arguments: Any) -> TaskRun:
    fixed: dict[str, Any] = {"task_id": "identity", "poll_interval": 0.05}
    return TaskRun(lambda: PiktidUploadIdentityOperator(image=str(image), **(fixed | arguments)))


@pytest.fixture
def portrait(tmp_path: Path) -> Path:
    return picture(tmp_path / "Model A.jpg")


@pytest.fixture(scope="module")
def face(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A photograph of a person; preprocessing needs a face."""
    from PIL import Image
    from skimage import data

    path = tmp_path_factory.mktemp("face") / "astronaut.jpg"
    Image.fromarray(data.astronaut()).save(path)
    return path


def test_identity_is_named_after_its_file(server: EmulatorServer, portrait: Path) -> None:
    """Without ``name`` the identity is named after its file, and the operator returns the code."""
    code = identity(portrait).run()

    assert server.state.v2.identities[code].name == "Model A"


def test_identity_takes_name_and_tag(server: EmulatorServer, portrait: Path) -> None:
    """``name`` and ``tag`` are stored with the identity."""
    code = identity(portrait, name="Ada", tag="spring").run()

    made = server.state.v2.identities[code]
    assert (made.name, made.tag) == ("Ada", "spring")


@pytest.mark.parametrize("variant", ["existing_identity_code", "identity_code", "bare"])
def test_existing_identity_is_returned(start: Start, portrait: Path, variant: str) -> None:
    """If the identity exists, the operator returns its code."""
    server = start(variants={"identity_conflict": variant})

    assert identity(portrait).run() == identity(portrait).run()
    assert server.state.v2.identity_named("Model A") is not None


def test_identity_does_not_wait_by_default(start: Start, portrait: Path) -> None:
    """By default the operator does not request the preprocessing status."""
    server = start(preprocessing_seconds=60)

    identity(portrait).run()

    assert server.state.counters.requests["identity_status"] == 0


def test_identity_waits_for_preprocessing(start: Start, face: Path) -> None:
    """With ``wait_for_preprocessing`` the operator returns after preprocessing has completed."""
    server = start(preprocessing_seconds=0.2, transform=True)

    code = identity(face, wait_for_preprocessing=True).run()

    assert server.state.v2.identities[code].preprocessing_status == "completed"


def test_identity_that_cannot_be_preprocessed_fails_with_the_reason(start: Start, portrait: Path) -> None:
    """A portrait without a face fails the task without a retry, with the reason in the error."""
    start(preprocessing_seconds=0.1, transform=True)

    with pytest.raises(AirflowFailException, match=r"No face was detected.*clearly visible face"):
        identity(portrait, wait_for_preprocessing=True).run()


def test_preprocessing_timeout_can_be_retried(start: Start, face: Path) -> None:
    """If preprocessing exceeds ``timeout``, the task fails with an error that Airflow retries."""
    start(preprocessing_seconds=60)

    with pytest.raises(PiktidJobTimeout, match="It exists"):
        identity(face, wait_for_preprocessing=True, timeout=0.1).run()


def test_identity_limit_fails_permanently(start: Start, portrait: Path) -> None:
    """HTTP 429 "Maximum identities reached" fails the task without a retry."""
    start(max_identities=0)

    with pytest.raises(AirflowFailException, match=r"(?i)maximum") as caught:
        identity(portrait).run()

    assert isinstance(caught.value.__cause__, PiktidQuotaError)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        pytest.param(lambda folder: None, "does not exist", id="missing"),
        pytest.param(
            lambda folder: (folder / "p.jpg").write_text("hi"), "not a supported image format", id="text"
        ),
        pytest.param(lambda folder: (folder / "p.jpg").touch(), "is empty", id="empty"),
        pytest.param(
            lambda folder: picture(folder / "p.webp").rename(folder / "p.jpg"), "WEBP image", id="webp"
        ),
    ],
)
def test_invalid_portrait_sends_no_request(
    server: EmulatorServer, tmp_path: Path, make: Any, words: str
) -> None:
    """An invalid image file fails the task before the first request."""
    make(tmp_path)

    with pytest.raises(AirflowFailException, match=words) as caught:
        identity(tmp_path / "p.jpg").run()

    assert isinstance(caught.value.__cause__, PiktidImageError)
    assert not server.state.counters.requests


def test_folder_with_several_portraits_is_refused(server: EmulatorServer, tmp_path: Path) -> None:
    """A folder with two images is refused."""
    picture(tmp_path / "a.jpg")
    picture(tmp_path / "b.jpg")

    with pytest.raises(AirflowFailException, match="matches 2 images"):
        identity(tmp_path).run()
