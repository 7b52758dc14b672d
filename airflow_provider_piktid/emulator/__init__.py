# SPDX-License-Identifier: Apache-2.0
"""
A local PiktID server for first runs and for tests.

It stores uploads, runs jobs over time, finds faces and changes them visibly, streams notifications, enforces
rate limits, expires links, and fails on request. v2 is at ``/``, v1 (person generation) at ``/api``.

``python -m airflow_provider_piktid.emulator`` runs it as a process, :class:`EmulatorServer` runs it in a
thread, and :func:`create_app` returns the ASGI application. :data:`LIMITS` lists what it does not imitate.

Requires the extra ``emulator``.
"""

from __future__ import annotations

from .app import create_app
from .faults import Fault, Faults
from .limits import LIMITS
from .server import EmulatorServer
from .settings import Settings
from .variants import VARIANTS

__all__ = ["LIMITS", "VARIANTS", "EmulatorServer", "Fault", "Faults", "Settings", "create_app"]
