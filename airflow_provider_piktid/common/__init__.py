# SPDX-License-Identifier: Apache-2.0
"""What every kind of paid work shares: the record of it, trigger events, and how a task behaves in Airflow."""
