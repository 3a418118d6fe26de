# SPDX-License-Identifier: Apache-2.0
"""Changes: what would be done to a host, and doing it."""
