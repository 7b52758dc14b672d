# SPDX-License-Identifier: Apache-2.0
"""Benchmarks against a local emulator: ``python -m tests.bench``."""
