# SPDX-License-Identifier: Apache-2.0
"""Which bootloader boots a root."""
