# SPDX-License-Identifier: Apache-2.0
"""A batch of v1 generations: request, match notifications, fetch results."""
