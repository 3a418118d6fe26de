# SPDX-License-Identifier: Apache-2.0
"""systemd-boot, and what writes its entries."""
