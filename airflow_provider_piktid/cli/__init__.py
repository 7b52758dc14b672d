# SPDX-License-Identifier: Apache-2.0
"""Commands for people on call: ``airflow piktid`` (Airflow 3.2+) and ``python -m airflow_provider_piktid``."""
