# SPDX-License-Identifier: Apache-2.0
"""The v2 API: projects, identities, jobs and notifications."""
