# SPDX-License-Identifier: Apache-2.0
"""Task groups for common pipelines."""
