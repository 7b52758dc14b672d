# SPDX-License-Identifier: Apache-2.0
"""A batch of v1 generations: request them, match notifications, download results."""
