# SPDX-License-Identifier: Apache-2.0
"""Devices: what of a host could go to a guest, what hangs on it, and what speaks against it. `reading/` reads it."""
