# SPDX-License-Identifier: Apache-2.0
"""Find out how a PiktID server behaves where its documents disagree or are silent, without Airflow."""
