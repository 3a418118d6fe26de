# SPDX-License-Identifier: Apache-2.0
"""What a kernel command line says, and what which kernel reads of it. Pure."""
