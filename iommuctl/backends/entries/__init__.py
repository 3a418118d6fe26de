# SPDX-License-Identifier: Apache-2.0
"""Boot Loader Specification entries and /etc/kernel/cmdline."""
