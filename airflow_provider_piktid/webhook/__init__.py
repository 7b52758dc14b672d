# SPDX-License-Identifier: Apache-2.0
"""The receiver of PiktID's webhook: on Airflow's API server, or as a process of its own."""
