# SPDX-License-Identifier: Apache-2.0
"""What operators and the sensor share on the worker."""
