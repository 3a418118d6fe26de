# SPDX-License-Identifier: Apache-2.0
"""Access to a host: its files, programs, signals and mounts. Knows no backend."""
