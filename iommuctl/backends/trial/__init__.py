# SPDX-License-Identifier: Apache-2.0
"""Trial boots: the entry that boots once, and what has to hold so that the host comes back by itself."""
