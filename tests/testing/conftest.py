# SPDX-License-Identifier: Apache-2.0
"""The tests in ``project`` belong to a project of its own: they run in a pytest of their own."""

collect_ignore = ["project"]
