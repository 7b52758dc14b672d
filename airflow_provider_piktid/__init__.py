# SPDX-License-Identifier: Apache-2.0
"""Apache Airflow provider for PiktID: model swap and person generation as tasks of a DAG."""

__version__ = "0.1.0"
