# SPDX-License-Identifier: Apache-2.0
"""Trial boots: boot once with new parameters, and come back by itself."""
