# SPDX-License-Identifier: Apache-2.0
"""The old place of :mod:`.pictures`, until the system tests import from there."""

from airflow_provider_piktid.demo.pictures import photographs

__all__ = ["photographs"]
