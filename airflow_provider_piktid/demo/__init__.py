# SPDX-License-Identifier: Apache-2.0
"""See the provider work: one batch in a terminal, or a whole Airflow to click through. Needs the extra ``demo``."""
