# SPDX-License-Identifier: Apache-2.0
"""
A distributed Airflow on one machine, without containers.

Postgres, Redis, CeleryExecutor, two workers, two triggerers, two API servers, a scheduler and a DAG processor, each
in processes of its own that can be killed and started again. ``make cluster`` and ``tests/system/test_cluster*.py``
use it.
"""
