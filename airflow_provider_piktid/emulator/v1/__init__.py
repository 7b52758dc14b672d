# SPDX-License-Identifier: Apache-2.0
"""The v1 API under ``/api``: person generation."""
