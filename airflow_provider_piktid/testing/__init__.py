# SPDX-License-Identifier: Apache-2.0
"""
A test kit for DAGs that use PiktID: pytest fixtures around the emulator.

pytest loads :mod:`.plugin` by itself. It imports nothing of the rest until a test asks for a fixture.
"""
