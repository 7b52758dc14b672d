# SPDX-License-Identifier: Apache-2.0
"""The v2 API of the emulator: model swap and everything around it."""
