# SPDX-License-Identifier: Apache-2.0
"""The use cases: each gathers facts, lets the core decide, and has the edges act."""
