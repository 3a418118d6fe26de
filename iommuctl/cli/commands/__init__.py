# SPDX-License-Identifier: Apache-2.0
"""The commands: one module each, with its options, its text and its JSON; none is loaded before it is asked for."""
