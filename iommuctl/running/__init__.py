# SPDX-License-Identifier: Apache-2.0
"""What a running kernel shows, held against what a profile promises."""
