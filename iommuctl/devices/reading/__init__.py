# SPDX-License-Identifier: Apache-2.0
"""Reading: the facts about devices, from /sys, /proc and /run of one root. The only place that reads them."""
