# SPDX-License-Identifier: Apache-2.0
"""Files on any object storage: list, read, write, receive, and detect image formats."""
