# SPDX-License-Identifier: Apache-2.0
"""Files on any object storage: list, read, write and receive them, and detect image formats."""
