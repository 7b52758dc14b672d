# SPDX-License-Identifier: Apache-2.0
"""The TLS context that all clients share."""

from __future__ import annotations

import ssl
import threading

import pytest

from airflow_provider_piktid.client import AsyncPiktidClient
from airflow_provider_piktid.client import _http as session


@pytest.fixture
def built(monkeypatch: pytest.MonkeyPatch) -> list[ssl.SSLContext]:
    """Every context that is built from here on, by anybody."""
    found: list[ssl.SSLContext] = []
    original = ssl.create_default_context

    def create(*args: object, **options: object) -> ssl.SSLContext:
        found.append(original(*args, **options))  # type: ignore[arg-type]
        return found[-1]

    session._context.cache_clear()
    monkeypatch.setattr(ssl, "create_default_context", create)
    return found


def test_fifty_clients_build_one_context(built: list[ssl.SSLContext]) -> None:
    """Fifty clients share one verifying TLS context."""
    clients = [AsyncPiktidClient("token") for _ in range(50)]
    for client in clients:
        assert client._http.links is not None
    assert len(built) == 1
    assert built[0].verify_mode is ssl.CERT_REQUIRED
    assert built[0].check_hostname


def test_threads_at_once_build_one_context(built: list[ssl.SSLContext]) -> None:
    """Threads that start at the same time share one TLS context."""
    threads = [threading.Thread(target=session.shared_context) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(built) == 1


def test_context_honours_ssl_cert_file(built: list[ssl.SSLContext], monkeypatch: pytest.MonkeyPatch) -> None:
    """The TLS context uses ``SSL_CERT_FILE``."""
    import certifi

    monkeypatch.setenv("SSL_CERT_FILE", certifi.where())
    session.shared_context()
    monkeypatch.setenv("SSL_CERT_FILE", "/does/not/exist")
    session._context.cache_clear()
    with pytest.raises(FileNotFoundError):
        session.shared_context()
    monkeypatch.undo()
    session._context.cache_clear()
