# SPDX-License-Identifier: Apache-2.0
"""What is only looked at: a host, its history, the knowledge."""
