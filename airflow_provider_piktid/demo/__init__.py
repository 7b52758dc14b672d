# SPDX-License-Identifier: Apache-2.0
"""Demos of the provider: one batch in a terminal, or Airflow with its web interface. Needs the extra ``demo``."""
