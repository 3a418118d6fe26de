# SPDX-License-Identifier: Apache-2.0
"""What the initramfs needs to give devices to vfio-pci before the host's drivers have them, and how it gets there."""
