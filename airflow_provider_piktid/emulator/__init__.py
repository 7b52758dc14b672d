# SPDX-License-Identifier: Apache-2.0
"""
A local PiktID, for a first run and for tests.

It stores what is uploaded, runs jobs over time, finds faces and changes pictures visibly, streams
notifications, limits rates, lets links expire, and fails where that was planned. v2 is at ``/``, v1 (person
generation) at ``/api``.

``python -m airflow_provider_piktid.emulator`` runs it; :class:`EmulatorServer` runs it in a thread;
:func:`create_app` gives the ASGI application. :data:`LIMITS` says what it does not imitate.

Needs the extra ``emulator``.
"""

from __future__ import annotations

from .app import create_app
from .faults import Fault, Faults
from .limits import LIMITS
from .server import EmulatorServer
from .settings import Settings
from .variants import VARIANTS

__all__ = ["LIMITS", "VARIANTS", "EmulatorServer", "Fault", "Faults", "Settings", "create_app"]
