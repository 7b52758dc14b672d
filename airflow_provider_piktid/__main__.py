# SPDX-License-Identifier: Apache-2.0
"""Run a command: ``python -m airflow_provider_piktid``."""

from __future__ import annotations

from airflow_provider_piktid.cli.main import main

if __name__ == "__main__":
    raise SystemExit(main())
