# SPDX-License-Identifier: Apache-2.0
"""A batch of v2 jobs: submit, wait, check the outcome, download, regenerate."""
