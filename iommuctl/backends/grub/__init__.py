# SPDX-License-Identifier: Apache-2.0
"""GRUB: its settings, its menu, its variables."""
