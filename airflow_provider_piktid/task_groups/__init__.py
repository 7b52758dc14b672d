# SPDX-License-Identifier: Apache-2.0
"""Ready-made parts of a DAG."""
