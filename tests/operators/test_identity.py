# SPDX-License-Identifier: Apache-2.0
"""The identity operator: one portrait becomes one identity, however often it is run."""

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
    """A photograph of a person, as preprocessing looks for a face."""
    from PIL import Image
    from skimage import data

    path = tmp_path_factory.mktemp("face") / "astronaut.jpg"
    Image.fromarray(data.astronaut()).save(path)
    return path


def test_identity_is_named_after_its_file(server: EmulatorServer, portrait: Path) -> None:
    """Without a name the file's name counts, as with PiktID's own client; the code is returned."""
    code = identity(portrait).run()

    assert server.state.v2.identities[code].name == "Model A"


def test_identity_takes_name_and_tag(server: EmulatorServer, portrait: Path) -> None:
    """The author's name goes before the file's."""
    code = identity(portrait, name="Ada", tag="spring").run()

    made = server.state.v2.identities[code]
    assert (made.name, made.tag) == ("Ada", "spring")


@pytest.mark.parametrize("variant", ["existing_identity_code", "identity_code", "bare"])
def test_identity_that_exists_is_taken(start: Start, portrait: Path, variant: str) -> None:
    """A retry neither fails nor fills the account."""
    server = start(variants={"identity_conflict": variant})

    assert identity(portrait).run() == identity(portrait).run()
    assert server.state.v2.identity_named("Model A") is not None


def test_identity_does_not_wait_by_default(start: Start, portrait: Path) -> None:
    """As PiktID's own client does."""
    server = start(preprocessing_seconds=60)

    identity(portrait).run()

    assert server.state.counters.requests["identity_status"] == 0


def test_identity_waits_for_preprocessing(start: Start, face: Path) -> None:
    """On request the code is given once it is ready."""
    server = start(preprocessing_seconds=0.2, transform=True)

    code = identity(face, wait_for_preprocessing=True).run()

    assert server.state.v2.identities[code].preprocessing_status == "completed"


def test_identity_that_cannot_be_preprocessed_fails_with_the_reason(start: Start, portrait: Path) -> None:
    """A picture without a face is no identity; a retry would not find one either."""
    start(preprocessing_seconds=0.1, transform=True)

    with pytest.raises(AirflowFailException, match=r"No face was detected.*clearly visible face"):
        identity(portrait, wait_for_preprocessing=True).run()


def test_identity_that_takes_too_long_can_be_retried(start: Start, face: Path) -> None:
    """The deadline passed; the identity exists."""
    start(preprocessing_seconds=60)

    with pytest.raises(PiktidJobTimeout, match="It exists"):
        identity(face, wait_for_preprocessing=True, timeout=0.1).run()


def test_full_account_is_told_at_once(start: Start, portrait: Path) -> None:
    """ "Maximum identities reached." is a 429 that waiting does not mend."""
    start(max_identities=0)

    with pytest.raises(AirflowFailException, match=r"(?i)maximum") as caught:
        identity(portrait).run()

    assert isinstance(caught.value.__cause__, PiktidQuotaError)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        pytest.param(lambda folder: None, "does not exist", id="missing"),
        pytest.param(lambda folder: (folder / "p.jpg").write_text("hi"), "is not a picture", id="text"),
        pytest.param(lambda folder: (folder / "p.jpg").touch(), "is empty", id="empty"),
        pytest.param(
            lambda folder: picture(folder / "p.webp").rename(folder / "p.jpg"), "WEBP picture", id="webp"
        ),
    ],
)
def test_bad_portrait_sends_nothing(server: EmulatorServer, tmp_path: Path, make: Any, words: str) -> None:
    """The file is looked into before the first request."""
    make(tmp_path)

    with pytest.raises(AirflowFailException, match=words) as caught:
        identity(tmp_path / "p.jpg").run()

    assert isinstance(caught.value.__cause__, PiktidImageError)
    assert not server.state.counters.requests


def test_folder_of_several_portraits_is_no_identity(server: EmulatorServer, tmp_path: Path) -> None:
    """One identity is made of one picture."""
    picture(tmp_path / "a.jpg")
    picture(tmp_path / "b.jpg")

    with pytest.raises(AirflowFailException, match="matches 2 images"):
        identity(tmp_path).run()
