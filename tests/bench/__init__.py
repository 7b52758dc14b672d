# SPDX-License-Identifier: Apache-2.0
"""Figures, measured against the emulator over loopback: ``python -m tests.bench``."""
