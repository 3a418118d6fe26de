# SPDX-License-Identifier: Apache-2.0
"""Shell files that grub-mkconfig sources: read, evaluated, edited, never executed."""
