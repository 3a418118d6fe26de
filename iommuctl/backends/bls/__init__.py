# SPDX-License-Identifier: Apache-2.0
"""GRUB that reads Boot Loader Specification entries."""
