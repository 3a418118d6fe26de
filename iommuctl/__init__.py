# SPDX-License-Identifier: Apache-2.0
"""iommuctl: the IOMMU part of the kernel command line, changed safely and proven."""

__version__ = "0.1.0"
